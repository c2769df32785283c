# Debian's own order: two versions a line, separated by a tab; answers <, =, > or ! (not a version).
use strict;
use warnings;
use Dpkg::Version;
$| = 1;
while (my $line = <STDIN>) {
    chomp $line;
    my ($first, $second) = map { Dpkg::Version->new($_, check => 1) } split(/\t/, $line, -1);
    if (!defined $first || !defined $second) { print "!\n"; next; }
    my $order = $first <=> $second;
    print $order < 0 ? "<\n" : $order > 0 ? ">\n" : "=\n";
}
