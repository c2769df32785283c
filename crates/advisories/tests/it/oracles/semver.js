// npm's own order: two versions a line, separated by a tab; answers <, =, > or ! (not a version).
const { execFileSync } = require('child_process');
const { createInterface } = require('readline');

function load() {
  try {
    return require('semver');
  } catch {
    const root = execFileSync('npm', ['root', '--global'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return require(`${root.trim()}/npm/node_modules/semver`);
  }
}

const semver = load();
const answers = [];
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const [first, second] = line.split('\t');
  const isVersion = semver.valid(first) !== null && semver.valid(second) !== null;
  answers.push(isVersion ? '<=>'[semver.compare(first, second) + 1] : '!');
});
lines.on('close', () => process.stdout.write(answers.join('\n') + '\n'));
