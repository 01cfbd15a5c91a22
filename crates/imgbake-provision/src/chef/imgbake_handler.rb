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
      failed = error && all.index { |resource| error.message.to_s.start_with?("#{resource} (") }
      lines = all.each_with_index.map do |resource, at|
        outcome, message =
          if at == failed then ["failed", error.message]
          elsif updated.include?(resource) then ["changed"]
          elsif failed && at > failed then ["skipped", "the run ended before it"]
          elsif Array(resource.action) == [:nothing] then ["skipped", "nothing notified it"]
          else ["unchanged"]
          end
        describe(resource).merge(outcome: outcome, message: message && text(message))
      end
      count = ->(outcome) { lines.count { |line| line[:outcome] == outcome } }
      lines << { end: { changed: count.("changed"), failed: count.("failed") } }
      File.write(@path, lines.map { |line| JSON.generate(line) + "\n" }.join, perm: 0o600)
    end

    private

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
