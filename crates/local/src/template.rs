//! `CloudFormation` templates as values: what has to change before the emulator takes them.

use serde_json::{Map, Value as Json, json};
use serde_yaml_ng::Value as Yaml;

use crate::error::LocalError;

/// A template in JSON, with the long forms of the intrinsic functions.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    name: String,
    body: Json,
}

/// A function of a template whose program a build makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCode {
    /// The function's logical id.
    pub logical_id: String,
    /// The name of the program, as the template's build properties say.
    pub program: String,
}

/// An object in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Object {
    /// The bucket.
    pub bucket: String,
    /// The key in it.
    pub key: String,
}

impl Template {
    /// Reads a template from YAML or JSON; `name` is for messages.
    pub fn parse(name: &str, text: &str) -> Result<Self, LocalError> {
        let refuse = |reason: String| LocalError::template(name, reason);
        let mut yaml: Yaml = serde_yaml_ng::from_str(text).map_err(|error| refuse(error.to_string()))?;
        yaml.apply_merge().map_err(|error| refuse(error.to_string()))?;
        let body = long_form(yaml).map_err(refuse)?;
        if body["Resources"].is_object() {
            Ok(Self {
                name: name.to_owned(),
                body,
            })
        } else {
            Err(LocalError::template(name, "it has no Resources"))
        }
    }

    /// Lists the functions, with the programs that their build properties name.
    pub fn functions(&self) -> Result<Vec<FunctionCode>, LocalError> {
        self.resources_of("AWS::Serverless::Function")
            .map(|(logical_id, resource)| {
                let program = resource["Metadata"]["BuildProperties"]["Binary"]
                    .as_str()
                    .ok_or_else(|| {
                        LocalError::template(
                            &self.name,
                            format!("{logical_id} has no Metadata.BuildProperties.Binary"),
                        )
                    })?;
                Ok(FunctionCode {
                    logical_id: logical_id.to_owned(),
                    program: program.to_owned(),
                })
            })
            .collect()
    }

    /// Finds a function by the name that people use: `receiver`, `portwarden-receiver` or `ReceiverFunction`.
    pub fn function(&self, name: &str) -> Result<FunctionCode, LocalError> {
        let functions = self.functions()?;
        let short = |code: &FunctionCode| code.program.trim_start_matches("portwarden-").to_owned();
        let found = functions
            .iter()
            .find(|code| code.logical_id == name || code.program == name || short(code) == name);
        found.cloned().ok_or_else(|| LocalError::FunctionUnknown {
            name: name.to_owned(),
            known: functions.iter().map(short).collect(),
        })
    }

    /// Points a function to uploaded code, as `aws cloudformation package` does.
    pub fn set_code(&mut self, logical_id: &str, object: &S3Object) {
        self.body["Resources"][logical_id]["Properties"]["CodeUri"] =
            json!({ "Bucket": object.bucket, "Key": object.key });
    }

    /// Sets a property of a resource to a text.
    pub fn set_property(&mut self, logical_id: &str, property: &str, value: &str) {
        self.body["Resources"][logical_id]["Properties"][property] = json!(value);
    }

    /// Takes the resources of `kind` out, for somebody else to create.
    pub fn take_resources(&mut self, kind: &str) -> Vec<(String, Json)> {
        let ids: Vec<String> = self.resources_of(kind).map(|(id, _)| id.to_owned()).collect();
        let Some(resources) = self.body["Resources"].as_object_mut() else {
            return Vec::new();
        };
        ids.into_iter()
            .filter_map(|id| resources.remove(&id).map(|resource| (id, resource)))
            .collect()
    }

    /// Puts `arn` in the place of what refers to the resource `logical_id`, which the template no longer has.
    pub fn replace_references(&mut self, logical_id: &str, arn: &str) {
        replace_references(&mut self.body, logical_id, arn);
    }

    /// Returns the template as compact JSON.
    pub fn to_json(&self) -> String {
        self.body.to_string()
    }

    fn resources_of(&self, kind: &str) -> impl Iterator<Item = (&str, &Json)> {
        let resources = self.body["Resources"].as_object();
        resources
            .into_iter()
            .flatten()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id.as_str(), resource))
    }
}

/// Writes YAML as JSON, `!Name value` as `{"Fn::Name": value}`.
///
/// Source: CloudFormation user guide, "Intrinsic function reference": `!Ref` and `!Condition` have no `Fn::`, and
/// `!GetAtt` splits its text at the first period.
fn long_form(yaml: Yaml) -> Result<Json, String> {
    Ok(match yaml {
        Yaml::Null => Json::Null,
        Yaml::Bool(value) => Json::Bool(value),
        Yaml::Number(number) => serde_json::to_value(number).map_err(|error| error.to_string())?,
        Yaml::String(text) => Json::String(text),
        Yaml::Sequence(items) => Json::Array(items.into_iter().map(long_form).collect::<Result<_, _>>()?),
        Yaml::Mapping(mapping) => {
            let mut object = Map::new();
            for (key, value) in mapping {
                object.insert(key_text(&key)?, long_form(value)?);
            }
            Json::Object(object)
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = tag.trim_start_matches('!');
            let value = long_form(tagged.value)?;
            match (name, value) {
                ("Ref" | "Condition", value) => json!({ name: value }),
                ("GetAtt", Json::String(text)) => {
                    let (resource, attribute) = text
                        .split_once('.')
                        .ok_or(format!("!GetAtt {text} has no attribute"))?;
                    json!({ "Fn::GetAtt": [resource, attribute] })
                }
                (name, value) => json!({ format!("Fn::{name}"): value }),
            }
        }
    })
}

fn key_text(key: &Yaml) -> Result<String, String> {
    match key {
        Yaml::String(text) => Ok(text.clone()),
        Yaml::Number(number) => Ok(number.to_string()),
        Yaml::Bool(value) => Ok(value.to_string()),
        _ => Err("a key is not a text".to_owned()),
    }
}

fn replace_references(value: &mut Json, logical_id: &str, arn: &str) {
    let refers = value["Ref"] == logical_id || value["Fn::GetAtt"][0] == logical_id;
    if refers {
        *value = Json::String(arn.to_owned());
        return;
    }
    match value {
        Json::Array(items) => items
            .iter_mut()
            .for_each(|item| replace_references(item, logical_id, arn)),
        Json::Object(fields) => fields
            .values_mut()
            .for_each(|field| replace_references(field, logical_id, arn)),
        Json::String(text) => {
            for reference in [format!("${{{logical_id}}}"), format!("${{{logical_id}.Arn}}")] {
                if text.contains(&reference) {
                    *text = text.replace(&reference, arn);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLICATION: &str = r"
Globals:
  Function: { CodeUri: ., Handler: bootstrap }
Resources:
  Receiver:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda, BuildProperties: { Binary: portwarden-receiver } }
    Properties:
      Role: !GetAtt Role.Arn
      Policy: &Trust { Version: '2012-10-17' }
  Scanner:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: portwarden-scanner } }
    Properties: { CodeUri: crates/scanner, Policy: *Trust }
  Role: { Type: AWS::IAM::Role }
";

    const TENANT: &str = r"
Parameters: { Url: { Type: String } }
Resources:
  Rule:
    Type: AWS::Events::Rule
    Properties:
      Targets: [{ Arn: !GetAtt Destination.Arn, DeadLetter: !Sub 'x/${Destination.Arn}/${DestinationToo}' }]
  Connection: { Type: AWS::Events::Connection, Properties: { Name: !Ref Url } }
  Destination: { Type: AWS::Events::ApiDestination, Properties: { ConnectionArn: !GetAtt Connection.Arn } }
Outputs:
  Name: { Value: !Ref Destination }
  Other: { Value: !Join [',', [!Ref Url, !GetAtt Rule.Arn]] }
";

    fn parse(text: &str) -> Template {
        Template::parse("template.yaml", text).unwrap()
    }

    fn reason(text: &str) -> String {
        Template::parse("template.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn short_forms_and_anchors_become_plain_json() {
        let body = parse(
            "
Resources:
  A: &A { Ref: !Ref B, Att: !GetAtt B.Arn.Deep, List: !GetAtt [B, Arn], If: !If [C, !Sub 'x${B}', !Ref AWS::NoValue], When: !Condition C }
  D: *A
  2: { <<: { N: 1.5 }, Flag: true, Nothing: }
",
        )
        .body;
        let a = json!({
            "Ref": { "Ref": "B" },
            "Att": { "Fn::GetAtt": ["B", "Arn.Deep"] },
            "List": { "Fn::GetAtt": ["B", "Arn"] },
            "If": { "Fn::If": ["C", { "Fn::Sub": "x${B}" }, { "Ref": "AWS::NoValue" }] },
            "When": { "Condition": "C" },
        });
        assert_eq!(
            body,
            json!({ "Resources": { "A": a, "D": a, "2": { "N": 1.5, "Flag": true, "Nothing": null } } })
        );
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_reason() {
        assert_eq!(
            reason("Outputs: {}"),
            "the template template.yaml cannot be deployed: it has no Resources"
        );
        assert_eq!(
            reason("Resources: { A: !GetAtt B }"),
            "the template template.yaml cannot be deployed: !GetAtt B has no attribute"
        );
        assert!(
            reason("Resources: [").contains("line 2"),
            "{}",
            reason("Resources: [")
        );
    }

    #[test]
    fn code_is_set_for_each_function_and_nothing_else_changes() {
        let mut template = parse(APPLICATION);
        let functions = template.functions().unwrap();
        let code = |logical_id: &str, program: &str| FunctionCode {
            logical_id: logical_id.to_owned(),
            program: program.to_owned(),
        };
        assert_eq!(
            functions,
            [
                code("Receiver", "portwarden-receiver"),
                code("Scanner", "portwarden-scanner")
            ]
        );

        let mut expected = template.body.clone();
        for function in &functions {
            let object = S3Object {
                bucket: "b".to_owned(),
                key: format!("{}.zip", function.program),
            };
            template.set_code(&function.logical_id, &object);
        }
        expected["Resources"]["Receiver"]["Properties"]["CodeUri"] =
            json!({ "Bucket": "b", "Key": "portwarden-receiver.zip" });
        expected["Resources"]["Scanner"]["Properties"]["CodeUri"] =
            json!({ "Bucket": "b", "Key": "portwarden-scanner.zip" });
        assert_eq!(template.body, expected);
    }

    #[test]
    fn a_function_without_a_program_is_named() {
        let error = parse("Resources: { F: { Type: AWS::Serverless::Function } }")
            .functions()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the template template.yaml cannot be deployed: F has no Metadata.BuildProperties.Binary"
        );
    }

    #[test]
    fn taken_resources_leave_no_reference_behind() {
        let mut template = parse(TENANT);
        let connections = template.take_resources("AWS::Events::Connection");
        let destinations = template.take_resources("AWS::Events::ApiDestination");
        assert_eq!(connections.len(), 1);
        assert_eq!(destinations[0].0, "Destination");
        assert_eq!(
            destinations[0].1["Properties"],
            json!({ "ConnectionArn": { "Fn::GetAtt": ["Connection", "Arn"] } })
        );

        template.replace_references("Destination", "arn:d");
        assert_eq!(
            template.body["Resources"],
            json!({ "Rule": { "Type": "AWS::Events::Rule", "Properties": { "Targets": [{
                "Arn": "arn:d", "DeadLetter": { "Fn::Sub": "x/arn:d/${DestinationToo}" },
            }] } } })
        );
        assert_eq!(template.body["Outputs"]["Name"], json!({ "Value": "arn:d" }));
        assert_eq!(
            template.body["Outputs"]["Other"],
            json!({ "Value": { "Fn::Join": [",", [{ "Ref": "Url" }, { "Fn::GetAtt": ["Rule", "Arn"] }]] } })
        );
    }
}
