//! The alarms of the template, the metrics of the code and the operator's document say the same.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::{collections::BTreeMap, fs, path::Path};

use portwarden_aws::{
    Metric,
    telemetry::{Fault, NAMESPACE},
};
use serde_json::Value;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap()
}

/// The properties of the template's alarms, by name. What is computed is left as it is written.
fn alarms() -> BTreeMap<String, Value> {
    let template: serde_yaml_ng::Value = serde_yaml_ng::from_str(&read("template.yaml")).unwrap();
    let resources = template["Resources"].as_mapping().unwrap();
    let alarms = resources
        .iter()
        .filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
    alarms
        .map(|(name, alarm)| {
            let name = name.as_str().unwrap().to_owned();
            (name, serde_json::to_value(&alarm["Properties"]).unwrap())
        })
        .collect()
}

/// The cells of the rows of the first table below a heading of the operator's document.
fn table(heading: &str) -> Vec<Vec<String>> {
    let document = read("docs/operations.md");
    let (_, section) = document.split_once(&format!("\n{heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("| `"));
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells = row.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

/// Name and value of each dimension of an alarm.
fn dimensions(alarm: &Value) -> Vec<(&str, &str)> {
    let dimensions = alarm["Dimensions"].as_array().unwrap();
    dimensions
        .iter()
        .map(|dimension| {
            (
                dimension["Name"].as_str().unwrap(),
                dimension["Value"].as_str().unwrap(),
            )
        })
        .collect()
}

/// What an alarm may look at: each metric as its service's sum, or told apart by its own dimension.
fn emitted() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let metrics = Metric::ALL
        .into_iter()
        .chain([Metric::ScansFailed { fault: Fault::Theirs }]);
    metrics
        .flat_map(|metric| {
            let service = ("service", metric.service().name());
            let own = metric.dimension().map(|own| (metric.name(), vec![service, own]));
            [Some((metric.name(), vec![service])), own]
        })
        .flatten()
        .collect()
}

#[test]
fn every_metric_that_an_alarm_names_is_emitted() {
    let emitted = emitted();
    let alarms = alarms();
    let mut ours = 0;
    for (name, alarm) in alarms.iter().filter(|(_, alarm)| alarm["Namespace"] == NAMESPACE) {
        let metric = alarm["MetricName"].as_str().unwrap();
        assert!(emitted.contains(&(metric, dimensions(alarm))), "{name}: {alarm}");
        ours += 1;
    }
    assert!(ours >= 3, "{alarms:?}");
}

#[test]
fn every_metric_is_counted_by_its_function_and_used_as_the_document_says() {
    let alarms = alarms();
    let table = table("## Metrics");
    assert_eq!(table.len(), Metric::ALL.len());
    for (metric, row) in Metric::ALL.into_iter().zip(&table) {
        let name = metric.name();
        let own = metric.dimension().map_or("", |(dimension, _)| dimension);
        assert_eq!(row[..3], [name, metric.service().name(), own]);
        let watching: Vec<_> = alarms
            .iter()
            .filter(|(_, alarm)| alarm["Namespace"] == NAMESPACE && alarm["MetricName"] == name)
            .map(|(alarm, _)| alarm.as_str())
            .collect();
        let used = if watching.is_empty() {
            "graphs".to_owned()
        } else {
            watching.join(", ")
        };
        assert_eq!(row[4], used, "{name}");
        let function = format!("crates/{}/src", metric.service().name());
        assert!(
            sources(&function).contains(&format!("Metric::{name}")),
            "{function} never counts {name}"
        );
    }
}

#[test]
fn every_alarm_is_explained() {
    let explained: Vec<_> = table("## Alarms").into_iter().map(|row| row[0].clone()).collect();
    let mut sorted = explained.clone();
    sorted.sort();
    assert_eq!(sorted, alarms().into_keys().collect::<Vec<_>>());
}

fn sources(directory: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files = fs::read_dir(root.join(directory)).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}
