use std::{
    env, io,
    path::{Path, PathBuf},
};

use clap::Args;
use portwarden_local::{
    AdvisoryChoice, LocalError, LocalOptions,
    invoke::{self, InvokeOptions},
    push::ImageChoice,
    recorded,
    run::{self, RunOptions},
};

use crate::failure::{Ending, Failure};

/// Starts a local cloud: Portwarden in an AWS emulator, with two tenants, an image and its report.
///
/// Runs in a checkout, as `make run` prepares it, until Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    /// Ends after the report; the last line of standard output is JSON
    #[arg(long)]
    once: bool,
    /// The image to push in the place of the sample: oci:DIR[:TAG|@DIGEST] or [REGISTRY/]NAME[:TAG|@DIGEST]
    #[arg(long)]
    image: Option<ImageChoice>,
    /// The emulator's port on 127.0.0.1; any free one if it is not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Where advisories come from: a directory with a folder for each ecosystem, an address (https://…), osv, or none
    ///
    /// Without it a handful that are kept in the checkout. `osv` reads OSV's public files, some hundreds of megabytes.
    #[arg(long, value_name = "SOURCE")]
    advisories: Option<AdvisoryChoice>,
    /// Pushes this image to the local cloud that runs already, which shows its report
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["once", "image", "port"])]
    push: Option<ImageChoice>,
    /// Invokes one function under AWS's runtime interface emulator, with a local cloud behind it, and ends
    #[arg(long, value_name = "FUNCTION", requires = "event", conflicts_with_all = ["once", "image", "port", "push"])]
    invoke: Option<String>,
    /// The file of the event to invoke it with
    #[arg(long, value_name = "FILE", requires = "invoke")]
    event: Option<PathBuf>,
}

/// The advisories about the sample image that are kept in the checkout.
const KEPT_ADVISORIES: &str = "crates/testkit/advisories";

impl LocalArgs {
    /// Runs the local cloud.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        if let (Some(function), Some(event)) = (self.invoke, self.event) {
            let cloud = recorded::options(Path::new("."), &programs()?);
            let options = InvokeOptions {
                cloud,
                function,
                event,
            };
            invoke::invoke(&options, &mut io::stdout(), &mut io::stderr()).await?;
            return Ok(Ending::Done);
        }
        let mut cloud = LocalOptions::in_checkout(Path::new("."), &programs()?);
        cloud.port = self.port;
        let kept = Path::new(KEPT_ADVISORIES);
        cloud.advisories = match self.advisories {
            Some(choice) => choice,
            None if kept.is_dir() => AdvisoryChoice::Directory(kept.to_owned()),
            None => AdvisoryChoice::None,
        };
        if let Some(image) = &self.push {
            let pushed = run::push_to_running(&cloud.state, image).await?;
            println!("{}:{} {}", pushed.repository, pushed.tag, pushed.digest);
            return Ok(Ending::Done);
        }
        let options = RunOptions {
            cloud,
            image: self.image.unwrap_or(ImageChoice::Sample),
            once: self.once,
        };
        run::run(&options, &mut io::stdout(), &mut io::stderr()).await?;
        Ok(Ending::Done)
    }
}

/// Returns the directory of the functions' programs: cargo puts them beside this one.
fn programs() -> Result<PathBuf, Failure> {
    let own = env::current_exe().map_err(|error| {
        let fix = "run the command again from a checkout: make run";
        Failure::new(
            "programs_missing",
            "this program's own place cannot be found",
            fix,
        )
        .because(&error)
    })?;
    Ok(own.parent().map(Path::to_owned).unwrap_or_default())
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Self {
        Self::new("local_cloud_failed", error.to_string(), error.fix()).because_of_source(&error)
    }
}
