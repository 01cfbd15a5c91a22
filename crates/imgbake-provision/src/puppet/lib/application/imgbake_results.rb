# `puppet imgbake_results`: reads the report that an agent's run left. A server's report processors run there.

require 'puppet/application'
require 'puppet/transaction/report'
require_relative '../reports/imgbake_results'

class Puppet::Application::ImgbakeResults < Puppet::Application
  def main
    text = File.read(File.join(::ImgbakeResults::FOLDER, 'report.yaml'), encoding: 'UTF-8')
    ::ImgbakeResults.write(Puppet::Transaction::Report.convert_from('yaml', text))
  end
end
