# RubyGems' own order: two versions a line, separated by a tab; answers <, =, > or ! (not a version).
require "rubygems"

$stdin.each_line do |line|
  pair = line.chomp.split("\t", -1)
  if pair.all? { |text| Gem::Version.correct?(text) }
    puts "<=>"[(Gem::Version.new(pair[0]) <=> Gem::Version.new(pair[1])) + 1]
  else
    puts "!"
  end
end
