<?php
// Composer's own order: two versions a line, separated by a tab; answers <, =, > or ! (not a version, or a branch).
require 'Composer/Semver/autoload.php';

use Composer\Semver\VersionParser;

$parser = new VersionParser();
while (($line = fgets(STDIN)) !== false) {
    try {
        [$first, $second] = array_map([$parser, 'normalize'], explode("\t", rtrim($line, "\n")));
        $isBranch = preg_match('/^dev-|9999999/', $first) || preg_match('/^dev-|9999999/', $second);
        echo $isBranch ? '!' : '<=>'[version_compare($first, $second) + 1], "\n";
    } catch (UnexpectedValueException $exception) {
        echo "!\n";
    }
}
