#!/usr/bin/ruby
# A stand-in for chef-client: reads the configuration, and calls the handlers with what run.json says.
HERE = File.dirname(File.realpath(__FILE__))
$LOAD_PATH.unshift(File.join(HERE, "lib"))
require "json"
config = Class.new do
  attr_reader :set
  def initialize() @set = Hash.new { |all, name| all[name] = [] } end
  def method_missing(name, *values) values.empty? ? @set[name] : @set[name] = values.first end
  def respond_to_missing?(*) true end
end.new
options = ARGV.each_cons(2).to_h
path = options["--config"]
config.instance_eval(File.read(path), path)
File.write(File.join(HERE, "seen.json"), JSON.generate(
  config: config.set.reject { |name, _| name.to_s.end_with?("handlers") },
  attributes: JSON.parse(File.read(options["--json-attributes"])), argv: ARGV
))
run = JSON.parse(File.read(File.join(HERE, "run.json")))
cookbook = config.set[:cookbook_path].is_a?(Array) ? config.set[:cookbook_path].first : nil
Found = Struct.new(:declared_type, :name, :action, :elapsed_time, :source_line, :sensitive, :diff,
                   :executed_by_runner, :defined_at) do
  def to_s() "#{declared_type}[#{name}]" end
end
last = run["resources"]&.index { |one| run["exception"]&.start_with?("#{one["type"]}[#{one["name"]}] (") }
all = run["resources"]&.each_with_index&.map do |one, at|
  ran = one.fetch("ran", last.nil? || at <= last)
  Found.new(one["type"].to_sym, one["name"], (one["action"] || "create").to_sym, 0.25,
            "#{cookbook}/web/recipes/default.rb:#{one["line"]}:in `from_file'", one["sensitive"], one["diff"],
            ran, "web::default line #{one["line"]}")
end
updated = all&.zip(run["resources"])&.select { |_, one| one["updated"] }&.map(&:first)
error = run["exception"] && RuntimeError.new(run["exception"])
Status = Struct.new(:all_resources, :updated_resources, :exception)
(error ? config.exception_handlers : config.report_handlers).each do |handler|
  handler.run_with(Status.new(all, updated, error))
end unless run["dies"]
puts "Infra Phase complete"
warn "FATAL: #{cookbook}/web/recipes/default.rb:7: syntax error" if run["dies"]
File.write(run["begun"], "") if run["begun"]
sleep run["sleep"] if run["sleep"]
exit run["exit"] || 0
