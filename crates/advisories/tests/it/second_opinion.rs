//! The OSV schema's own evaluation algorithm, written plainly, beside the crate's intervals and its database.

use std::cmp::Ordering;

use packageurl::PackageUrl;
use portwarden_advisories::{Database, Package, Scheme, build, parse, read_bulk};
use serde_json::Value;

use crate::feed;

fn scheme(ecosystem: &str) -> Option<Scheme> {
    Some(match ecosystem.split(':').next().unwrap() {
        "AlmaLinux" => Scheme::Rpm,
        "Alpine" => Scheme::Apk,
        "Debian" | "Ubuntu" => Scheme::Dpkg,
        "Go" | "crates.io" | "npm" => Scheme::SemVer,
        "Maven" => Scheme::Maven,
        "NuGet" => Scheme::NuGet,
        "Packagist" => Scheme::Packagist,
        "PyPI" => Scheme::Pep440,
        "RubyGems" => Scheme::RubyGems,
        _ => return None,
    })
}

fn texts(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// `IsVulnerable` of the schema, for one entry of `affected`.
fn is_affected(affected: &Value, scheme: Scheme, version: &str) -> bool {
    let is_listed = texts(&affected["versions"]).any(|listed| listed == version);
    is_listed
        || texts(&affected["ranges"])
            .any(|range| range["type"] != "GIT" && is_in_range(range, scheme, version))
}

fn is_in_range(range: &Value, scheme: Scheme, version: &str) -> bool {
    let compare = |a: &str, b: &str| match (a, b) {
        ("0", "0") => Ordering::Equal,
        ("0", _) => Ordering::Less,
        (_, "0") => Ordering::Greater,
        _ => scheme.compare(a, b).unwrap(),
    };
    let mut events: Vec<(&str, &str)> = texts(&range["events"])
        .flat_map(|event| event.as_object().unwrap())
        .map(|(kind, version)| (kind.as_str(), version.as_str().unwrap()))
        .collect();
    let limits: Vec<&str> = events
        .iter()
        .filter(|(kind, _)| *kind == "limit")
        .map(|(_, limit)| *limit)
        .collect();
    let is_before_limits = limits.is_empty()
        || limits
            .iter()
            .any(|limit| *limit == "*" || compare(version, limit).is_lt());
    events.retain(|(kind, _)| *kind != "limit");
    events.sort_by(|(_, a), (_, b)| compare(a, b));
    let mut is_vulnerable = false;
    for (kind, at) in events {
        match kind {
            "introduced" if at == "0" || compare(version, at).is_ge() => is_vulnerable = true,
            "fixed" if compare(version, at).is_ge() => is_vulnerable = false,
            "last_affected" if compare(version, at).is_gt() => is_vulnerable = false,
            _ => {}
        }
    }
    is_vulnerable && is_before_limits
}

/// The bounds and listed versions of an entry, and what is just below and just above each.
fn candidates(affected: &Value, scheme: Scheme) -> Vec<String> {
    let events = texts(&affected["ranges"])
        .filter(|range| range["type"] != "GIT")
        .flat_map(|range| texts(&range["events"]))
        .flat_map(|event| event.as_object().unwrap().values());
    let listed = texts(&affected["versions"]).take(3);
    let mut candidates: Vec<String> = Vec::new();
    for version in events.chain(listed).filter_map(Value::as_str) {
        let (below, above): (&[&str], &[&str]) = match scheme {
            Scheme::Apk => (&["_alpha", "_rc1"], &["_p1", ".0"]),
            Scheme::Dpkg | Scheme::Rpm => (&["~", "~rc1"], &["+1", ".1"]),
            Scheme::Pep440 => (&[".dev0", "a0"], &[".post1", ".0.1"]),
            Scheme::SemVer | Scheme::NuGet => (&["-0", "-rc.1"], &[".1", ".0.1"]),
            Scheme::Maven => (&["-alpha", "-SNAPSHOT"], &["-sp", ".1"]),
            Scheme::Packagist => (&["-alpha", "-dev"], &["-p1", ".1"]),
            Scheme::RubyGems => (&[".a", "-pre"], &[".1", ".0.1"]),
        };
        candidates.push(version.to_owned());
        for suffix in below.iter().chain(above) {
            candidates.push(format!("{version}{suffix}"));
        }
        if let Some((start, end)) = version.rsplit_once('.')
            && let Ok(last) = end.parse::<u64>()
        {
            candidates.push(format!("{start}.{}", last.saturating_add(1)));
            candidates.push(format!("{start}.{}", last.saturating_sub(1)));
        }
    }
    candidates.sort();
    candidates.dedup();
    candidates.retain(|version| version != "0" && scheme.is_valid(version));
    candidates
}

fn purl(ecosystem: &str, name: &str, version: &str) -> Option<String> {
    let (family, release) = ecosystem.split_once(':').unwrap_or((ecosystem, ""));
    let (ty, namespace, name) = match family {
        "Debian" => ("deb", Some("debian"), name),
        "Alpine" => ("apk", Some("alpine"), name),
        "AlmaLinux" => ("rpm", Some("almalinux"), name),
        "npm" | "Go" => {
            let (namespace, name) = name
                .rsplit_once('/')
                .map_or((None, name), |(n, name)| (Some(n), name));
            (if family == "Go" { "golang" } else { "npm" }, namespace, name)
        }
        "Maven" => name
            .split_once(':')
            .map(|(group, name)| ("maven", Some(group), name))?,
        "PyPI" => ("pypi", None, name),
        "crates.io" => ("cargo", None, name),
        _ => return None,
    };
    let mut purl = PackageUrl::new(ty, name).ok()?;
    if let Some(namespace) = namespace {
        purl.with_namespace(namespace).ok()?;
    }
    purl.with_version(version).ok()?;
    if matches!(ty, "deb" | "apk" | "rpm") {
        purl.add_qualifier(
            "distro",
            format!("{}-{}", namespace?, release.trim_start_matches('v')),
        )
        .ok()?;
    }
    Some(purl.to_string())
}

#[test]
fn intervals_agree_with_the_schemas_algorithm() {
    let Some(directory) = feed::directory() else {
        return;
    };
    let (mut records, mut checks, mut odd) = (0, 0, 0);
    for archive in feed::archives(&directory) {
        for (name, content) in feed::records(&directory, &archive) {
            let raw: Value = serde_json::from_slice(&content).unwrap();
            let advisory = parse(&content).unwrap_or_else(|error| panic!("{name}: {error}"));
            records += 1;
            if !advisory.flaws.is_empty() {
                // A range with a version that is none cannot be evaluated by anybody.
                odd += 1;
                continue;
            }
            for affected in texts(&raw["affected"]) {
                let (ecosystem, package) = (&affected["package"]["ecosystem"], &affected["package"]["name"]);
                let Some(scheme) = ecosystem.as_str().and_then(scheme) else {
                    continue;
                };
                // A package may have several entries, and any of them may affect it.
                let raw_entries: Vec<&Value> = texts(&raw["affected"])
                    .filter(|entry| {
                        &entry["package"]["ecosystem"] == ecosystem && &entry["package"]["name"] == package
                    })
                    .collect();
                let is_folded = matches!(scheme, Scheme::Pep440 | Scheme::Packagist | Scheme::NuGet)
                    || ecosystem.as_str() == Some("Go");
                let lower = |name: &str| match scheme {
                    Scheme::Pep440 => name.to_lowercase().replace(['_', '.'], "-"),
                    _ if is_folded => name.to_lowercase(),
                    _ => name.to_owned(),
                };
                let ours: Vec<_> = advisory
                    .affected
                    .iter()
                    .filter(|entry| {
                        entry.ecosystem == ecosystem.as_str().unwrap()
                            && lower(&entry.name) == lower(package.as_str().unwrap())
                    })
                    .collect();
                for version in candidates(affected, scheme) {
                    let theirs = raw_entries
                        .iter()
                        .any(|entry| is_affected(entry, scheme, &version));
                    let found = ours.iter().any(|entry| {
                        entry.versions.contains(&version)
                            || entry
                                .intervals
                                .iter()
                                .any(|i| i.contains(scheme, &version) == Some(true))
                    });
                    assert_eq!(
                        found, theirs,
                        "{name}: {ecosystem} {package} {version}: {ours:#?}"
                    );
                    checks += 1;
                }
            }
        }
    }
    assert!(checks > records, "{checks} checks of {records} records");
    println!("{checks} versions of {records} records, {odd} records with odd versions");
}

#[test]
fn the_database_agrees_with_the_schemas_algorithm() {
    let Some(directory) = feed::directory() else {
        return;
    };
    let bulk = read_bulk(&directory, "2026-12-01T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(
        bulk.flaws
            .iter()
            .filter(|flaw| flaw.contains("not an OSV record"))
            .count(),
        0,
        "{:?}",
        bulk.flaws
    );
    let bytes = build(&bulk).unwrap();
    assert!(
        build(&bulk).unwrap() == bytes,
        "the same advisories give other bytes"
    );
    println!(
        "{} advisories in {} bytes, {} flaws",
        bulk.advisories.len(),
        bytes.len(),
        bulk.flaws.len()
    );
    let database = Database::open(bytes).unwrap();
    let mut checks = 0;
    for archive in feed::archives(&directory) {
        for (name, content) in feed::records(&directory, &archive).into_iter().step_by(100) {
            let raw: Value = serde_json::from_slice(&content).unwrap();
            let id = raw["id"].as_str().unwrap();
            let advisory = &bulk.advisories[id];
            if advisory.modified.to_string()
                != raw["modified"]
                    .as_str()
                    .unwrap()
                    .parse::<jiff::Timestamp>()
                    .unwrap()
                    .to_string()
                || !advisory.flaws.is_empty()
            {
                // Another archive holds a newer record of this id.
                continue;
            }
            for affected in texts(&raw["affected"]).take(3) {
                let (ecosystem, package) = (&affected["package"]["ecosystem"], &affected["package"]["name"]);
                let Some((ecosystem, package)) = ecosystem.as_str().zip(package.as_str()) else {
                    continue;
                };
                let Some(scheme) = scheme(ecosystem) else { continue };
                for version in candidates(affected, scheme).into_iter().take(6) {
                    let Some(purl) = purl(ecosystem, package, &version) else {
                        break;
                    };
                    let is_any = texts(&raw["affected"])
                        .filter(|e| e["package"]["ecosystem"] == ecosystem && e["package"]["name"] == package)
                        .any(|entry| is_affected(entry, scheme, &version));
                    let found = database.find(&[Package::new(purl.clone())]).unwrap();
                    let is_found = found
                        .findings
                        .iter()
                        .any(|finding| finding.ids.iter().any(|known| known == id));
                    // An alias' own record may affect more.
                    let is_wanted = is_any && raw["withdrawn"].is_null();
                    let by_alias = !is_wanted && is_found;
                    assert!(
                        is_found == is_wanted
                            || (by_alias && !advisory.aliases.is_empty())
                            || (by_alias && has_namesake(&bulk, id)),
                        "{name}: {purl}: {found:#?}"
                    );
                    checks += 1;
                }
            }
        }
    }
    println!("{checks} look-ups");
    assert!(checks > 100, "{checks}");
}

fn has_namesake(bulk: &portwarden_advisories::Bulk, id: &str) -> bool {
    bulk.advisories.values().any(|other| {
        other.id != id && (other.aliases.iter().any(|a| a == id) || other.upstream.iter().any(|a| a == id))
    })
}
