# `puppet apply` with resources in an order by chance, as far as their relations allow it.
require 'puppet/application/apply'
require 'puppet/graph'

class Puppet::Application::Imgbake_shuffle < Puppet::Application::Apply
  # Priorities by chance: those of Puppet follow the manifest.
  module Shuffled
    def generate_priority_for(key)
      shuffled(key)
    end

    def generate_priority_contained_in(_container, key)
      shuffled(key)
    end

    private

    def shuffled(key)
      @random ||= Random.new(Integer(ENV.fetch('IMGBAKE_SEED')))
      record_priority_for(key, format('%020d', @random.rand(1 << 62))) if priority_of(key).nil?
    end
  end

  def run_command
    Puppet::Graph::SequentialPrioritizer.prepend(Shuffled)
    super
  end
end
