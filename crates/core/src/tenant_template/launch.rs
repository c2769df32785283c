//! Links that open CloudFormation with the tenants' template and everything filled in that a tenant would have to type.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::publication::{BucketNameError, Edition, TemplateBucket};
use crate::id::{ExternalId, Region};

/// The regions that always have a link.
///
/// The nine of the integration that this one follows, and the one that was added to them.
pub const REGIONS: [&str; 10] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "ca-central-1",
    "ap-southeast-2",
];

/// The name of a tenant's stack, unless the tenant changes it.
pub const STACK_NAME: &str = "portwarden-ecr";

/// What a link fills in. The password is never among it: CloudFormation ignores parameters with `NoEcho` in links.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// What people call the tenant, so that nobody creates a stack from somebody else's link.
    pub tenant_name: &'a str,
    /// The integration's event endpoint.
    pub url: &'a str,
    /// The integration's ExternalId.
    pub external_id: &'a ExternalId,
}

/// Where the links lead, and which there are.
#[derive(Debug, Clone)]
pub struct LaunchPad {
    template_url: String,
    regional: Vec<TemplateBucket>,
    regions: BTreeSet<Region>,
}

/// A link for one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaunchLink {
    /// The region that the stack is created in.
    pub region: Region,
    /// The link.
    pub link: String,
}

impl LaunchPad {
    /// Leads to the template at `template_url`, in the ten regions.
    pub fn new(template_url: String) -> Self {
        Self {
            template_url,
            regional: Vec::new(),
            regions: constant_regions(),
        }
    }

    /// Adds regions.
    pub fn add_regions(&mut self, regions: impl IntoIterator<Item = Region>) {
        self.regions.extend(regions);
    }

    /// Leads in these regions to the copy in the region's own bucket, `<prefix>-<region>`.
    pub fn add_buckets(&mut self, prefix: &str, regions: &[Region]) -> Result<(), BucketNameError> {
        for region in regions {
            self.regional.push(TemplateBucket::regional(prefix, region)?);
        }
        self.add_regions(regions.iter().cloned());
        Ok(())
    }

    /// Returns the address of the template that links lead to, unless a region has its own copy.
    pub fn template_url(&self) -> &str {
        &self.template_url
    }

    /// Returns a link for each region.
    pub fn links(&self, launch: &Launch<'_>) -> Vec<LaunchLink> {
        self.links_with(&[
            ("param_TenantName", launch.tenant_name),
            ("param_Url", launch.url),
            ("param_ExternalId", launch.external_id.as_str()),
        ])
    }

    /// Returns a link for each region that fills nothing in, for whoever has the values at hand.
    pub fn blank_links(&self) -> Vec<LaunchLink> {
        self.links_with(&[])
    }

    fn links_with(&self, parameters: &[(&str, &str)]) -> Vec<LaunchLink> {
        let link = |region: &Region| LaunchLink {
            region: region.clone(),
            link: self.link(region, parameters),
        };
        self.regions.iter().map(link).collect()
    }

    /// Source: `CloudFormation` user guide, "Create quick-create links for stacks".
    fn link(&self, region: &Region, parameters: &[(&str, &str)]) -> String {
        let console = match region.partition() {
            "aws-cn" => "console.amazonaws.cn",
            "aws-us-gov" => "console.amazonaws-us-gov.com",
            _ => "console.aws.amazon.com",
        };
        let own = self.regional.iter().find(|bucket| bucket.region() == region);
        let template = own.map_or_else(
            || self.template_url.clone(),
            |bucket| bucket.url(&Edition::Latest),
        );
        let fixed = [("templateURL", template.as_str()), ("stackName", STACK_NAME)];
        let query: Vec<String> = fixed
            .iter()
            .chain(parameters)
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, RESERVED)))
            .collect();
        format!(
            "https://{region}.{console}/cloudformation/home?region={region}#/stacks/create/review?{}",
            query.join("&")
        )
    }
}

/// Returns the regions that always have a link.
#[expect(clippy::missing_panics_doc, reason = "each of the constants is a region")]
pub fn constant_regions() -> BTreeSet<Region> {
    REGIONS
        .map(|region| region.parse().expect("a constant region is valid"))
        .into()
}

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{id::IntegrationId, random::OsRandomness, tenant_template};

    fn pad() -> LaunchPad {
        LaunchPad::new("https://b.s3.eu-west-1.amazonaws.com/public-templates/latest/t".to_owned())
    }

    fn launch<'a>(tenant_name: &'a str, external_id: &'a ExternalId) -> Launch<'a> {
        Launch {
            tenant_name,
            url: "https://api.example/v1/events/i-0",
            external_id,
        }
    }

    /// Reads a link as a browser and CloudFormation's page do.
    fn parameters(link: &str) -> Vec<(String, String)> {
        let (_, fragment) = link.split_once('#').unwrap();
        let (path, query) = fragment.split_once('?').unwrap();
        assert_eq!(path, "/stacks/create/review");
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .unwrap()
                .into_owned()
        };
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap();
            (decode(name), decode(value))
        };
        query.split('&').map(pair).collect()
    }

    #[test]
    fn a_link_is_what_cloudformation_documents() {
        let id: ExternalId = "pw-0123456789abcdefghjkmnpqrs".parse().unwrap();
        let links = pad().links(&launch("Shop & Söhne", &id));
        let frankfurt = links
            .iter()
            .find(|link| link.region.as_str() == "eu-central-1")
            .unwrap();
        assert_eq!(
            frankfurt.link,
            "https://eu-central-1.console.aws.amazon.com/cloudformation/home?region=eu-central-1#/stacks/create/review\
             ?templateURL=https%3A%2F%2Fb.s3.eu-west-1.amazonaws.com%2Fpublic-templates%2Flatest%2Ft\
             &stackName=portwarden-ecr&param_TenantName=Shop%20%26%20S%C3%B6hne\
             &param_Url=https%3A%2F%2Fapi.example%2Fv1%2Fevents%2Fi-0\
             &param_ExternalId=pw-0123456789abcdefghjkmnpqrs"
        );
    }

    #[test]
    fn there_is_one_link_for_each_region_and_each_leads_to_the_nearest_copy() {
        let id = ExternalId::generate(&OsRandomness);
        let mut pad = pad();
        pad.add_regions(["eu-north-1", "us-east-1"].map(|region| region.parse().unwrap()));
        pad.add_buckets(
            "acme",
            &["us-west-1".parse().unwrap(), "cn-north-1".parse().unwrap()],
        )
        .unwrap();
        let links = pad.links(&launch("x", &id));
        assert_eq!(links.len(), 12);
        let template = |region: &str| {
            let link = links.iter().find(|link| link.region.as_str() == region).unwrap();
            parameters(&link.link).swap_remove(0).1
        };
        assert!(template("us-west-1").starts_with("https://acme-us-west-1.s3.us-west-1.amazonaws.com/"));
        assert!(template("eu-north-1").starts_with("https://b.s3.eu-west-1.amazonaws.com/"));
        let china = links
            .iter()
            .find(|link| link.region.as_str() == "cn-north-1")
            .unwrap();
        assert!(china.link.starts_with("https://cn-north-1.console.amazonaws.cn/"));
        assert!(
            pad.add_buckets("not.covered", &["us-east-2".parse().unwrap()])
                .is_err()
        );
    }

    #[test]
    fn links_name_parameters_that_the_template_has_and_can_show() {
        let id = ExternalId::generate(&OsRandomness);
        let source = tenant_template::render(&"arn:aws:iam::111122223333:role/c".parse().unwrap());
        let link = &pad().links(&launch("x", &id))[0].link;
        let names: Vec<String> = parameters(link).into_iter().map(|(name, _)| name).collect();
        let filled: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix("param_"))
            .collect();
        assert_eq!(filled, ["TenantName", "Url", "ExternalId"]);
        let (_, body) = source.split_once("\nParameters:\n").unwrap();
        for name in filled {
            let (_, parameter) = body
                .split_once(&format!("\n  {name}:\n"))
                .or(body.split_once(&format!("  {name}:\n")))
                .unwrap();
            let own: String = parameter
                .lines()
                .take_while(|line| line.starts_with("    "))
                .collect();
            assert!(
                own.contains("Type: String") && !own.contains("NoEcho"),
                "{name}: {own}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_a_tenant_is_called_it_stays_one_parameter(name in "\\PC*") {
            let id = ExternalId::generate(&OsRandomness);
            let integration = IntegrationId::generate(&OsRandomness);
            let url = format!("https://api.example/v1/events/{integration}");
            let launch = Launch { tenant_name: &name, url: &url, external_id: &id };
            for link in pad().links(&launch) {
                prop_assert!(link.link.is_ascii());
                let read = parameters(&link.link);
                prop_assert_eq!(read.len(), 5);
                prop_assert_eq!(&read[2], &("param_TenantName".to_owned(), name.clone()));
                prop_assert_eq!(&read[3].1, &url);
                prop_assert_eq!(&read[4].1, id.as_str());
            }
        }
    }
}
