//! What CloudFormation is told.

use portwarden_core::problem::chain;
use serde_json::{Value, json};

use crate::{
    error::PublishError,
    publish::Published,
    request::{PUBLISHED, Reply, UNPUBLISHED},
};

/// The most that CloudFormation takes, in bytes.
///
/// Source: CloudFormation user guide, "Custom resource response objects".
pub const LIMIT: usize = 4096;

/// Writes the answer, with what `Fn::GetAtt` reads of the resource or with why there is none.
pub fn answer(reply: &Reply, outcome: &Result<Option<Published>, PublishError>) -> String {
    let id = match outcome {
        Ok(Some(_)) => PUBLISHED,
        _ => reply.physical_id.as_deref().unwrap_or(UNPUBLISHED),
    };
    match outcome {
        Ok(published) => {
            let data = published.as_ref().map(|published| {
                json!({
                    "Url": published.url,
                    "VersionUrl": published.version_url,
                    "Version": published.version.to_string(),
                    "Sha256": published.sha256,
                })
            });
            with(
                reply,
                id,
                "SUCCESS",
                &json!({ "Data": data.unwrap_or_else(|| json!({})) }),
            )
        }
        Err(error) => {
            let mut reason = format!("{} ({})", chain(error), error.code());
            loop {
                let answer = with(reply, id, "FAILED", &json!({ "Reason": reason }));
                if answer.len() <= LIMIT {
                    return answer;
                }
                let mut shorter = reason.len() * 3 / 4;
                while !reason.is_char_boundary(shorter) {
                    shorter -= 1;
                }
                reason.truncate(shorter);
            }
        }
    }
}

fn with(reply: &Reply, id: &str, status: &str, rest: &Value) -> String {
    let mut answer = json!({
        "Status": status,
        "PhysicalResourceId": id,
        "StackId": reply.stack_id,
        "RequestId": reply.request_id,
        "LogicalResourceId": reply.logical_id,
    });
    for (name, value) in rest.as_object().into_iter().flatten() {
        answer[name] = value.clone();
    }
    answer.to_string()
}
