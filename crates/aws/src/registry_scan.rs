use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_ecr::{
    operation::describe_image_scan_findings::DescribeImageScanFindingsOutput,
    primitives::DateTime,
    types::{
        EnhancedImageScanFinding, ImageScanFinding, ImageScanFindings, PackageVulnerabilityDetails,
        ScanStatus, VulnerablePackage,
    },
};
use jiff::Timestamp;
use portwarden_core::{
    ecr::{EcrError, RegistryId},
    registry_scan::{ReadRegistryScan, RegistryFinding, RegistryScan, RegistryScanner},
    session::Session,
};
use portwarden_oci::{Digest, RepositoryName};

use crate::{
    Ecr,
    ecr::{ecr_error, image_id},
    failure::{Failure, Kind},
};

const ACTION: &str = "ecr:DescribeImageScanFindings";

/// How many findings a page has: the most that ECR gives.
///
/// Source: Amazon ECR API reference, `DescribeImageScanFindings`.
const PAGE: i32 = 1000;

/// How many pages are read; an image with more findings is told to have more.
const PAGES: usize = 20;

#[async_trait]
impl ReadRegistryScan for Ecr {
    async fn registry_scan(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<RegistryScan>, EcrError> {
        let mut found: Option<RegistryScan> = None;
        let mut next = None;
        for _ in 0..PAGES {
            let answer = self
                .client
                .describe_image_scan_findings()
                .registry_id(registry.account.as_str())
                .repository_name(repository.as_str())
                .image_id(image_id(digest))
                .max_results(PAGE)
                .set_next_token(next.take())
                .customize()
                .config_override(self.caller(session, registry))
                .send()
                .await;
            let mut answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let failure = Failure::of(ACTION, &error);
                    // No scan, no such image, a kind of image that is not scanned: ECR would say it again.
                    return match failure.kind() {
                        Kind::Refused => Ok(None),
                        _ => Err(ecr_error(ACTION, failure)),
                    };
                }
            };
            next = answer.next_token.take().filter(|token| !token.is_empty());
            let Some(page) = scan(answer) else {
                return Ok(None);
            };
            match &mut found {
                Some(found) => found.findings.extend(page.findings),
                None => found = Some(page),
            }
            if next.is_none() {
                break;
            }
        }
        Ok(found.map(|mut scan| {
            scan.truncated = next.is_some();
            scan.findings.sort();
            scan.findings.dedup();
            scan
        }))
    }
}

/// Reads one page; nothing if the scan has not ended well.
fn scan(answer: DescribeImageScanFindingsOutput) -> Option<RegistryScan> {
    let scanner = match answer.image_scan_status.as_ref()?.status.as_ref()? {
        ScanStatus::Complete => RegistryScanner::Basic,
        // Enhanced scanning goes on for as long as the image is watched.
        ScanStatus::Active => RegistryScanner::Enhanced,
        _ => return None,
    };
    let found = answer.image_scan_findings;
    let enhanced = found
        .iter()
        .flat_map(ImageScanFindings::enhanced_findings)
        .flat_map(of_enhanced);
    let mut findings: Vec<RegistryFinding> = enhanced.collect();
    let scanner = if findings.is_empty() {
        scanner
    } else {
        RegistryScanner::Enhanced
    };
    findings.extend(
        found
            .iter()
            .flat_map(ImageScanFindings::findings)
            .filter_map(of_basic),
    );
    Some(RegistryScan {
        scanner,
        completed_at: found
            .and_then(|found| found.image_scan_completed_at)
            .as_ref()
            .and_then(timestamp),
        truncated: false,
        findings,
    })
}

/// Reads a finding of basic scanning, whose package and score are attributes.
///
/// Source of their names: AWS CLI reference, `ecr describe-image-scan-findings`, the example's output; `CVSS3_SCORE` and
/// `CVSS3_VECTOR` are in no documentation, but in what newer scans answer.
fn of_basic(finding: &ImageScanFinding) -> Option<RegistryFinding> {
    let attributes: BTreeMap<&str, &str> = finding
        .attributes()
        .iter()
        .filter_map(|attribute| Some((attribute.key(), attribute.value()?)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let text = |key: &str| attributes.get(key).map(|value| (*value).to_owned());
    // Of `CVSS2_SCORE` and `CVSS3_SCORE` the newer one is the last.
    let newest = |ending: &str| {
        let mut all = attributes.iter().rev();
        all.find(|(key, _)| key.starts_with("CVSS") && key.ends_with(ending))
            .map(|(_, value)| *value)
    };
    Some(RegistryFinding {
        ids: vec![finding.name.clone()?],
        package: text("package_name")?,
        version: text("package_version"),
        severity: finding
            .severity()
            .map(|severity| severity.as_str().to_owned())
            .unwrap_or_default(),
        score_tenths: newest("_SCORE")
            .and_then(|score| score.parse().ok())
            .and_then(tenths),
        vector: newest("_VECTOR").map(str::to_owned),
        summary: first_line(finding.description()),
        links: finding.uri.iter().cloned().collect(),
        ..RegistryFinding::default()
    })
}

/// Reads a finding of enhanced scanning, once for each package that it names.
fn of_enhanced(finding: &EnhancedImageScanFinding) -> Vec<RegistryFinding> {
    let is_open = finding.status().is_none_or(|status| status == "ACTIVE");
    let Some(details) = finding.package_vulnerability_details().filter(|_| is_open) else {
        return Vec::new();
    };
    let Some(id) = details.vulnerability_id.clone() else {
        return Vec::new();
    };
    let related = details.related_vulnerabilities().iter().cloned();
    let ids: Vec<String> = [id].into_iter().chain(related).collect();
    let of_package = |package: &VulnerablePackage| {
        Some(RegistryFinding {
            ids: ids.clone(),
            package: package.name.clone()?,
            version: version(package),
            manager: package.package_manager.clone(),
            // Inspector has a word where there is no fix.
            fixed: package
                .fixed_in_version
                .clone()
                .filter(|fixed| !fixed.is_empty() && fixed != "NotAvailable"),
            severity: finding.severity.clone().unwrap_or_default(),
            score_tenths: tenths(finding.score),
            vector: vector(details),
            summary: first_line(finding.description()),
            links: links(details),
            published: details.vendor_created_at().and_then(timestamp),
            modified: details.vendor_updated_at().and_then(timestamp),
        })
    };
    details
        .vulnerable_packages()
        .iter()
        .filter_map(of_package)
        .collect()
}

/// Puts the parts of a version together as its package manager writes them.
fn version(package: &VulnerablePackage) -> Option<String> {
    let mut text = package.version.clone().filter(|version| !version.is_empty())?;
    if let Some(release) = package.release().filter(|release| !release.is_empty()) {
        text = format!("{text}-{release}");
    }
    match package.epoch {
        Some(epoch) if epoch > 0 => Some(format!("{epoch}:{text}")),
        _ => Some(text),
    }
}

fn vector(details: &PackageVulnerabilityDetails) -> Option<String> {
    let newest = details.cvss().iter().max_by_key(|score| score.version.clone())?;
    newest.scoring_vector.clone()
}

fn links(details: &PackageVulnerabilityDetails) -> Vec<String> {
    const MOST: usize = 5;
    let all = details.source_url.iter().chain(details.reference_urls());
    let mut links: Vec<String> = Vec::new();
    for link in all {
        if links.len() < MOST && !links.contains(link) {
            links.push(link.clone());
        }
    }
    links
}

/// Descriptions are pages long at times; a finding has a line.
fn first_line(text: Option<&str>) -> String {
    const MOST: usize = 300;
    let line = text.unwrap_or_default().trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn tenths(score: f64) -> Option<u8> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is between 0 and 100"
    )]
    let tenths = (score * 10.0).round().clamp(0.0, 100.0) as u8;
    // No score is told as none, or as 0.
    (tenths > 0).then_some(tenths)
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}
