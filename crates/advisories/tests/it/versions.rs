//! Each scheme's order beside that of the program whose order it is.
//!
//! `VERSION_PAIRS` says how many pairs of each scheme are generated; as many real ones come from `ADVISORIES`.

use std::{
    cmp::Ordering,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use portwarden_advisories::Scheme;
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::feed;

type Pair = (String, String);

/// A program that knows an order.
struct Oracle {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    script: &'static str,
}

impl Oracle {
    /// Asks for the order of each pair, in one process; says why, if the program cannot be run.
    fn ask(&self, pairs: &[Pair]) -> Result<Vec<Option<Ordering>>, String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/oracles");
        let mut child = Command::new(self.program)
            .args(self.arguments)
            .arg(directory.join(self.script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdin = child.stdin.take().unwrap();
        let lines: String = pairs.iter().flat_map(|(a, b)| [a, "\t", b, "\n"]).collect();
        // The program may answer before it has read everything, or end before.
        let writer = thread::spawn(move || drop(stdin.write_all(lines.as_bytes())));
        let answers: Vec<_> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(|line| match line.unwrap().as_str() {
                "<" => Some(Ordering::Less),
                "=" => Some(Ordering::Equal),
                ">" => Some(Ordering::Greater),
                "!" => None,
                other => panic!("{} answers {other:?}", self.name),
            })
            .collect();
        writer.join().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() && answers.len() == pairs.len() {
            Ok(answers)
        } else {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(errors.lines().last().unwrap_or("it ends early").trim().to_owned())
        }
    }
}

/// Makes pairs; the second is often the first with a small change, since most differences are there.
fn generate(versions: &BoxedStrategy<String>, alphabet: &'static str, count: usize) -> Vec<Pair> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let letters: Vec<char> = alphabet.chars().collect();
    let change = (
        0..4_u8,
        any::<prop::sample::Index>(),
        prop::sample::select(letters),
    );
    let pairs = (versions.clone(), versions.clone(), vec(change, 0..3)).prop_map(|(a, other, changes)| {
        if changes.is_empty() {
            return (a, other);
        }
        let mut b: Vec<char> = a.chars().collect();
        for (kind, index, letter) in changes {
            match kind {
                0 if !b.is_empty() => drop(b.remove(index.index(b.len()))),
                1 if !b.is_empty() => {
                    let index = index.index(b.len());
                    b[index] = letter;
                }
                2 => b.push(letter),
                _ => b.insert(index.index(b.len() + 1), letter),
            }
        }
        (a, b.into_iter().collect())
    });
    (0..count)
        .map(|_| pairs.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Takes neighbours out of what the real advisories say of each package.
fn real(ecosystems: &[&str], count: usize) -> Vec<Pair> {
    let Some(versions) = feed::versions(ecosystems) else {
        return Vec::new();
    };
    let pairs: Vec<Pair> = versions
        .iter()
        .flat_map(|versions| {
            let near = versions.windows(2).map(|pair| (pair[0].clone(), pair[1].clone()));
            let far = versions.iter().zip(versions.iter().rev());
            near.chain(far.map(|(a, b)| (a.clone(), b.clone())))
        })
        .collect();
    let step = (pairs.len() / count.max(1)).max(1);
    pairs.into_iter().step_by(step).take(count).collect()
}

/// Which pairs the programs are allowed to see otherwise.
type Explained = fn(&Pair, Option<Ordering>, Option<Ordering>) -> bool;

fn agree(
    scheme: Scheme,
    oracle: &Oracle,
    versions: &[&str],
    alphabet: &'static str,
    ecosystems: &[&str],
    explained: Explained,
) {
    let count = env::var_os("VERSION_PAIRS").map_or(2_000, |count| count.to_str().unwrap().parse().unwrap());
    let strategies: Vec<_> = versions
        .iter()
        .map(|regex| prop::string::string_regex(regex).unwrap().boxed())
        .collect();
    let mut pairs = generate(&prop::strategy::Union::new(strategies).boxed(), alphabet, count);
    let generated = pairs.len();
    pairs.extend(real(ecosystems, count));
    let answers = match oracle.ask(&pairs) {
        Ok(answers) => answers,
        Err(reason) => return println!("not run: {} ({reason})", oracle.name),
    };
    let valid = answers.iter().filter(|answer| answer.is_some()).count();
    assert!(
        valid * 4 > pairs.len(),
        "{scheme}: only {valid} of {} are pairs of versions",
        pairs.len()
    );
    let mut differences: Vec<_> = pairs
        .iter()
        .zip(answers)
        .map(|(pair, theirs)| (pair, scheme.compare(&pair.0, &pair.1), theirs))
        .filter(|(pair, ours, theirs)| ours != theirs && !explained(pair, *ours, *theirs))
        .collect();
    differences.sort_by_key(|((a, b), ..)| a.len() + b.len());
    let first: Vec<_> = differences
        .iter()
        .take(20)
        .map(|((a, b), ours, theirs)| format!("\n{a}  {b}: ours {ours:?}, theirs {theirs:?}"))
        .collect();
    assert!(
        differences.is_empty(),
        "{scheme}: {} of {} pairs differ:{}",
        differences.len(),
        pairs.len(),
        first.concat()
    );
    println!(
        "{scheme}: {generated} generated and {} real pairs, {valid} of versions",
        pairs.len() - generated
    );
}

/// We read more than a program that is strict, but never order otherwise.
fn is_lenient(_: &Pair, ours: Option<Ordering>, theirs: Option<Ordering>) -> bool {
    theirs.is_none() && ours.is_some()
}

#[test]
fn dpkg_orders_as_debian_does() {
    let oracle = Oracle {
        name: "Perl's Dpkg::Version",
        program: "perl",
        arguments: &[],
        script: "dpkg.pl",
    };
    let versions = [
        "([0-3]:)?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}([~+.][a-z0-9~+.]{0,6}){0,2}(-[0-9][a-z0-9~+.]{0,8})?",
        "([0-9]:)?[0-9][0-9a-zA-Z.+~-]{0,10}(-[0-9a-zA-Z.+~]{1,6})?",
    ];
    // It refuses a version that does not start with a digit, and an empty revision, which dpkg itself orders; and takes
    // a colon at the end for a part of the version, which dpkg refuses.
    let explained: Explained = |(a, b), ours, theirs| match (ours, theirs) {
        (Some(_), None) => true,
        (None, Some(_)) => a.ends_with(':') || b.ends_with(':'),
        _ => false,
    };
    agree(
        Scheme::Dpkg,
        &oracle,
        &versions,
        "0123456789abz~+.-:",
        &["Debian", "Ubuntu"],
        explained,
    );
}

#[test]
fn rpm_orders_as_rpm_does() {
    let oracle = Oracle {
        name: "Python's rpm",
        program: "/usr/bin/python3",
        arguments: &[],
        script: "rpmvercmp.py",
    };
    let versions = [
        "([0-3]:)?[0-9]{1,3}(\\.[0-9a-z]{1,3}){0,3}([~^][a-z0-9]{0,4})?-[0-9]{1,3}(\\.el[789](_[0-9])?)?(\\.[a-z0-9]{1,4})?",
        "([0-9]:)?[0-9a-zA-Z.+~^_]{1,10}(-[0-9a-zA-Z.+~^_]{1,6})?",
    ];
    agree(
        Scheme::Rpm,
        &oracle,
        &versions,
        "0123456789abzAZ~^+._-",
        &["AlmaLinux"],
        |_, _, _| false,
    );
}

#[test]
fn pep440_orders_as_python_does() {
    let oracle = Oracle {
        name: "Python's packaging",
        program: "/usr/bin/python3",
        arguments: &[],
        script: "pep440.py",
    };
    let versions = [
        "([0-2]!)?[0-9]{1,2}(\\.[0-9]{1,2}){0,4}((a|b|rc)[0-9]{1,2})?(\\.post[0-9]{1,2})?(\\.dev[0-9]{1,2})?(\\+[a-z0-9]{1,3}(\\.[a-z0-9]{1,3}){0,2})?",
        "[vV]?([0-2]!)?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}([-_.]?(a|b|c|rc|alpha|BETA|pre|Preview)[-_.]?[0-9]{0,2})?((-[0-9])|([-_.]?(post|rev|r)[-_.]?[0-9]{0,2}))?([-_.]?dev[-_.]?[0-9]{0,2})?(\\+[a-zA-Z0-9]{1,2}([-_.][a-zA-Z0-9]{1,3}){0,2})?",
    ];
    agree(
        Scheme::Pep440,
        &oracle,
        &versions,
        "0123456789abcrdevpost!+.-_",
        &["PyPI"],
        |_, _, _| false,
    );
}

#[test]
fn semver_orders_as_npm_does() {
    let oracle = Oracle {
        name: "npm's semver",
        program: "node",
        arguments: &[],
        script: "semver.js",
    };
    let versions = [
        "v?(0|[1-9][0-9]{0,2})\\.(0|[1-9][0-9]?)\\.(0|[1-9][0-9]?)(-(0|[1-9][0-9]?|[a-zA-Z-][0-9a-zA-Z-]{0,4})(\\.(0|[1-9]|[a-z-][0-9a-z-]{0,3})){0,3})?(\\+[0-9a-z.]{1,4}[0-9a-z])?",
        "0\\.0\\.0-20(1[0-9]|2[0-6])[01][0-9]{9}-[0-9a-f]{12}",
    ];
    agree(
        Scheme::SemVer,
        &oracle,
        &versions,
        "0123456789abz.-+",
        &["npm", "crates.io", "Go"],
        is_lenient,
    );
}

#[test]
fn maven_orders_as_maven_does() {
    let oracle = Oracle {
        name: "Maven's ComparableVersion",
        program: "java",
        arguments: &[
            "-cp",
            "/usr/share/java/maven3-artifact.jar:/usr/share/java/commons-lang3.jar",
        ],
        script: "Maven.java",
    };
    let versions = [
        "[0-9]{1,2}(\\.[0-9]{1,3}){0,3}([.-](alpha|beta|milestone|rc|cr|snapshot|SNAPSHOT|ga|final|Final|RELEASE|sp|a|b|m|jre|android|pre|v)[.-]?[0-9]{0,2}){0,2}",
        "[0-9a-zA-Z.-]{1,10}",
        "[01ab.-]{1,12}",
    ];
    // Nothing at all is no version to us.
    agree(
        Scheme::Maven,
        &oracle,
        &versions,
        "0123456789abmxz.-_",
        &["Maven"],
        |(a, b), ours, _| ours.is_none() && (a.is_empty() || b.is_empty()),
    );
}

#[test]
fn rubygems_orders_as_ruby_does() {
    let oracle = Oracle {
        name: "RubyGems' Gem::Version",
        program: "ruby",
        arguments: &[],
        script: "rubygems.rb",
    };
    let versions = [
        "[0-9]{1,2}(\\.[0-9]{1,2}){0,4}(\\.(a|alpha|b|beta|pre|rc)[0-9]{0,2}(\\.[0-9]{1,2}){0,2})?(-[a-z0-9]{1,4}(-[0-9a-z.-]{0,3}[a-z0-9])?)?",
        "[0-9](\\.[01a-cA-C]{1,4}){0,4}(-[01a-]{1,4})?",
    ];
    agree(
        Scheme::RubyGems,
        &oracle,
        &versions,
        "0123456789abz.-",
        &["RubyGems"],
        |_, _, _| false,
    );
}

#[test]
fn packagist_orders_as_composer_does() {
    let oracle = Oracle {
        name: "Composer's semver",
        program: "php",
        arguments: &[],
        script: "composer.php",
    };
    let versions = [
        "v?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}([._-]?(stable|beta|b|RC|rc|alpha|a|patch|pl|p)([.-]?[0-9]{1,2}){0,2})?([.-]?dev)?(\\+[a-z0-9]{1,3})?",
        "20[012][0-9]([.:-]?[0-3][0-9]){1,4}([.-]?[0-9]{1,3})?([._-]?(beta|RC|p)[0-9]?)?",
    ];
    // A number of more than five digits in front is a branch's, which has no order.
    let explained: Explained = |(a, b), ours, _| {
        ours.is_none()
            && [a, b]
                .iter()
                .any(|text| text.contains("dev") && text.bytes().take(6).all(|b| b.is_ascii_digit()))
    };
    agree(
        Scheme::Packagist,
        &oracle,
        &versions,
        "0123456789abpr.-_",
        &["Packagist"],
        explained,
    );
}

/// The list that apk-tools tests itself with, which no package brings along: `test/unit/version.data` of its sources.
#[test]
#[ignore = "APK_VERSIONS must name the list of apk-tools"]
fn apk_orders_as_apk_tools_tests_itself() {
    let list = std::fs::read_to_string(env::var_os("APK_VERSIONS").unwrap()).unwrap();
    let lines = list.lines().map(|line| line.split('#').next().unwrap());
    let (mut pairs, mut single, mut odd, mut wrong) = (0, 0, 0, Vec::new());
    for words in lines.map(|line| line.split_whitespace().collect::<Vec<_>>()) {
        match words[..] {
            [a, operator @ ("<" | "=" | ">"), b] => {
                let order = match operator {
                    "<" => Ordering::Less,
                    "=" => Ordering::Equal,
                    _ => Ordering::Greater,
                };
                pairs += 1;
                let ours = Scheme::Apk.compare(a, b);
                // What is no version is ordered as a text there, and not at all here.
                if ours.is_none() {
                    odd += 1;
                } else if ours != Some(order) {
                    wrong.push(format!("{a} {operator} {b}: {ours:?}"));
                }
            }
            [version] if version != "!" => {
                single += 1;
                let is_valid = !version.starts_with('!');
                if Scheme::Apk.is_valid(version.trim_start_matches('!')) != is_valid {
                    wrong.push(version.to_owned());
                }
            }
            // Matches of requirements, and nothing.
            _ => {}
        }
    }
    println!("apk: {pairs} pairs of the list, {odd} of no versions, and {single} single versions");
    assert_eq!((wrong, odd), (Vec::<String>::new(), 2));
}
