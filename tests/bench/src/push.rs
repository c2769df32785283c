//! From the event of a push to the report, with everything deployed to the local cloud as on AWS.

use std::{fs, path::PathBuf, time::Instant};

use portwarden_local::{
    Identity, LocalCloud, LocalOptions, Tenant, TenantPlan, push::ImageChoice, watch::Action,
};
use portwarden_oci::Version;
use portwarden_registry::LayoutReference;

use crate::{
    Bench, Failure,
    images::{TAG, TestImage},
    sheet::{Sheet, Table, Unit, median, milliseconds},
};

/// Layers are kept for each tenant, so each of them is a run from nothing.
const TENANTS: usize = 5;

/// What a 60 MB Debian may take.
const AIM: f64 = 2000.0;

pub(crate) async fn measure(bench: &Bench) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new("push");
    let mut options = LocalOptions::in_checkout(&bench.root, &bench.programs);
    options.state = bench.state.join("push");
    options.tenants = (0..TENANTS)
        .map(|number| {
            Ok(TenantPlan {
                name: format!("Tenant {number}"),
                account: format!("{:012}", 200_000_000_000_usize + number).parse()?,
                region: "us-east-1".parse()?,
                identity: Identity::New,
            })
        })
        .collect::<Result<_, Failure>>()?;
    fs::create_dir_all(&options.state)?;
    let cloud = LocalCloud::start(&options).await?;
    let mut table = Table::new(
        "push to report",
        &[
            ("first", Unit::Milliseconds),
            ("middle", Unit::Milliseconds),
            ("longest", Unit::Milliseconds),
        ],
    );
    for image in [TestImage::Sample, TestImage::Debian] {
        let Some(layout) = image.layout(bench)? else {
            sheet.not_run(format!("the image {} (mmdebstrap is missing)", image.name()));
            continue;
        };
        let mut times = Vec::new();
        for tenant in cloud.tenants() {
            times.push(push(&cloud, tenant, layout.clone(), image.name()).await?);
        }
        let middle = median(times.iter().copied());
        let longest = times.iter().copied().fold(0.0, f64::max);
        table.row(image.name(), [Some(times[0]), Some(middle), Some(longest)]);
        if image == TestImage::Debian {
            sheet.aim(
                "push to report of a 60 MB Debian",
                middle,
                AIM,
                Unit::Milliseconds,
            );
        }
    }
    cloud.shutdown().await;
    sheet.add(table);
    Ok(sheet)
}

/// Pushes an image, delivers its event and waits for its report; returns the time since the push, in milliseconds.
async fn push(cloud: &LocalCloud, tenant: &Tenant, layout: PathBuf, name: &str) -> Result<f64, Failure> {
    let image = ImageChoice::Layout(LayoutReference {
        directory: layout,
        version: Some(Version::Tag(TAG.parse()?)),
    });
    let pushed = cloud.push(tenant, &image, &name.parse()?, &TAG.parse()?).await?;
    let start = Instant::now();
    let event = cloud.event(tenant, Action::Push, &pushed);
    cloud.deliver(tenant, &event).await?;
    cloud.report(&tenant.id, &pushed.digest).await?;
    Ok(milliseconds(start.elapsed()))
}
