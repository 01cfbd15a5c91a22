# Writes what a run of Chef did as lines of JSON: one for each resource, and one for the end.
require "json"
require "chef/handler"

module Imgbake
  class Results < Chef::Handler
    MOST_TEXT = 8192

    def initialize(path)
      @path = path
    end

    def report
      all = run_status.all_resources || []
      updated = run_status.updated_resources || []
      error = run_status.exception
      failed = failed(all, error)
      lines = all.each_with_index.map do |resource, at|
        outcome, message =
          if at == failed then ["failed", error.message]
          elsif updated.any? { |one| one.equal?(resource) } then ["changed"]
          elsif failed && !ran?(resource, at < failed) then ["skipped", "the run ended before it"]
          elsif Array(resource.action) == [:nothing] then ["skipped", "nothing notified it"]
          else ["unchanged"]
          end
        describe(resource).merge(outcome: outcome, message: message && text(message))
      end
      # Counted by Chef: a resource may be updated and then fail.
      changed = updated.count { |resource| failed.nil? || !resource.equal?(all[failed]) }
      lines << { end: { changed: changed, failed: error ? 1 : 0 } }
      File.write(@path, lines.map { |line| JSON.generate(line) + "\n" }.join, perm: 0o600)
    end

    private

    # The index of the resource that ended the run: the last one that ran, of those that the error may name. Two may
    # have the same type and name; where they stand tells them apart.
    def failed(all, error)
      return unless error

      message = error.message.to_s
      named = all.each_index.select { |at| message.start_with?("#{all[at]} (") }
      placed = named.select do |at|
        resource = all[at]
        resource.respond_to?(:defined_at) && message.start_with?("#{resource} (#{resource.defined_at})")
      end
      named = placed unless placed.empty?
      named.select { |at| ran?(all[at], true) }.last || named.first
    end

    # Whether Chef came to a resource; `otherwise`, where it does not say.
    def ran?(resource, otherwise)
      resource.respond_to?(:executed_by_runner) ? resource.executed_by_runner : otherwise
    end

    def describe(resource)
      file, line = resource.source_line.to_s.match(/\A(.+?):(\d+)(?::in .*)?\z/m)&.captures
      shows = resource.respond_to?(:diff) && !resource.sensitive
      diff = resource.diff if shows
      {
        name: text(resource.name), type: text(resource.declared_type), seconds: resource.elapsed_time,
        file: file && text(file), line: line&.to_i, diff: diff && text(diff)
      }
    end

    def text(value)
      value.to_s.dup.force_encoding("UTF-8").scrub[0, MOST_TEXT]
    end
  end
end
