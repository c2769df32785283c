//! `docs/first-deploy.md` names outputs, parameters and resources; this holds the page to the templates.

use std::{collections::BTreeSet, fs};

use crate::root;

/// The names below a section of a template, such as `Outputs`.
fn names(template: &str, section: &str) -> BTreeSet<String> {
    let behind = template.split(&format!("\n{section}:\n")).nth(1).unwrap();
    let lines = behind
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    names
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric()))
        .map(str::to_owned)
        .collect()
}

/// The words that follow each `start` in the page, up to what no name has.
fn words_behind<'a>(page: &'a str, start: &str) -> BTreeSet<&'a str> {
    let behind = page.split(start).skip(1);
    let words = behind.map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap());
    words.collect()
}

#[test]
fn the_page_names_what_the_templates_have() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let page = read("docs/first-deploy.md");
    let operators = read("template.yaml");
    let tenants = read("crates/core/templates/ecr-integration.yaml");
    for (start, template, at_least) in [("$(output ", &operators, 8), ("tenant_output ", &tenants, 2)] {
        let outputs = names(template, "Outputs");
        let used = words_behind(&page, start);
        assert!(used.len() >= at_least, "the page is read: {used:?}");
        let unknown: Vec<_> = used.iter().filter(|name| !outputs.contains(**name)).collect();
        assert_eq!(unknown, [&""; 0], "no such output of {start}");
    }
    let known: BTreeSet<String> = [&operators, &tenants]
        .into_iter()
        .flat_map(|template| ["Parameters", "Resources"].map(|section| names(template, section)))
        .flatten()
        .collect();
    let marked = page.split('`').skip(1).step_by(2);
    // How the names of what the templates make end, so that words of AWS are none of them.
    let ends = [
        "Alarm",
        "Role",
        "RoleName",
        "Queue",
        "BucketName",
        "TableName",
        "BusName",
        "Arn",
        "Endpoint",
        "Generation",
    ];
    let named: BTreeSet<&str> = marked
        .filter(|code| {
            code.chars().all(|c| c.is_ascii_alphanumeric()) && ends.iter().any(|end| code.ends_with(end))
        })
        .filter(|code| *code != "AssumeRole")
        .collect();
    assert!(named.len() >= 10, "the page is read: {named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
    assert_eq!(unknown, [&""; 0], "neither parameter nor resource");
}
