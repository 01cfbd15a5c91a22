# Writes what a run of Puppet did as lines of JSON: one for each resource, and one for the end.

require 'json'
require 'puppet/reports'

module ImgbakeResults
  # The folder of the step.
  FOLDER = File.expand_path('../../..', __dir__)
  # What every catalog has, whatever the manifest says.
  HOUSEKEEPING = %w[Schedule Filebucket].freeze
  MOST_TEXT = 4096
  MOST_DIFF = 8192

  module_function

  def write(report)
    logs = report.logs.group_by { |log| log.source.to_s }
    changed = failed = 0
    File.open(File.join(FOLDER, 'results'), 'w', 0o600, encoding: 'UTF-8') do |out|
      report.resource_statuses.each_value do |status|
        line = resource(status, logs)
        out.puts(JSON.generate(line)) if line
        # Puppet counts a resource of which one property changed and another failed twice.
        changed -= 1 if failed?(status) && status.changed
        failed += 1 if status.failed_to_restart && !status.failed
      end
      changed += count(report, 'changed')
      failed += count(report, 'failed')
      # A run may fail and no resource with it.
      failed = 1 if failed.zero? && report.status == 'failed'
      out.puts(JSON.generate('end' => { 'changed' => changed, 'failed' => failed }))
    end
  end

  def count(report, name)
    metric = report.metrics['resources']
    (metric && metric[name]).to_i
  end

  def failed?(status)
    status.failed || status.failed_to_restart
  end

  def outcome(status)
    return 'failed' if failed?(status)
    return 'changed' if status.changed

    # `noop` of the resource itself: it is not as declared, and was left so.
    status.skipped || noop?(status) ? 'skipped' : 'unchanged'
  end

  def noop?(status)
    status.events.any? { |event| event.status == 'noop' }
  end

  def resource(status, logs)
    type, = status.resource.split('[', 2)
    outcome = outcome(status)
    return if outcome == 'unchanged' && HOUSEKEEPING.include?(type)

    line = { 'name' => text(status.title, MOST_TEXT), 'type' => type, 'outcome' => outcome }
    line['seconds'] = status.evaluation_time.to_f if status.evaluation_time
    line['file'] = text(status.file, MOST_TEXT) if status.file
    line['line'] = status.line.to_i if status.line
    source = "/#{status.containment_path.join('/')}"
    diff = diff(status, logs, source)
    line['diff'] = diff unless diff.empty?
    message = message(status, logs, source, outcome)
    line['message'] = message unless message.empty?
    line
  end

  # The differences of files that Puppet shows, and what it says of all else that changed.
  def diff(status, logs, source)
    parts = status.events.select { |event| event.status == 'success' }.map do |event|
      property = event.property.to_s
      next event.message.to_s if property.empty?

      shown = (logs["#{source}/#{property}"] || []).map { |log| log.message.to_s.sub(/\A\n/, '') }
      shown = shown.find { |message| message.start_with?('--- ') }
      next "#{property}:\n#{hunks(shown)}" if shown

      "#{property}: #{value(event.previous_value)} -> #{value(event.desired_value)}"
    end
    text(parts.join("\n"), MOST_DIFF)
  end

  # A diff without the names and times of the two files, one of which is temporary.
  def hunks(shown)
    lines = shown.lines
    lines.shift while lines.first && lines.first.start_with?('--- ', '+++ ')
    lines.join
  end

  def value(value)
    value.is_a?(Array) ? value.map(&:to_s).join(', ') : value.to_s
  end

  def message(status, logs, source, outcome)
    parts =
      case outcome
      when 'failed'
        status.events.select { |event| event.status == 'failure' }.map { |event| event.message.to_s }
      when 'skipped'
        noop = status.events.select { |event| event.status == 'noop' }
        noop.map { |event| "noop: #{event.message}" } + (logs[source] || []).map { |log| log.message.to_s }
      else
        []
      end
    text(parts.uniq.join("\n"), MOST_TEXT)
  end

  # What Puppet gives may be bytes that are no text.
  def text(value, most)
    text = value.to_s.dup
    text.force_encoding('UTF-8') if text.encoding == Encoding::BINARY
    text.encode('UTF-8', invalid: :replace, undef: :replace).scrub('?')[0, most].chomp
  end
end

Puppet::Reports.register_report(:imgbake_results) do
  desc 'Writes the results of a run for imgbake.'

  def process
    ::ImgbakeResults.write(self)
  end
end
