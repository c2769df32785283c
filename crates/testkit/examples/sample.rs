//! Writes the sample image as an OCI layout, to look at it with other tools:
//! `cargo run -p portwarden-testkit --example sample -- DIRECTORY`.

use std::{env, error::Error, path::PathBuf};

use portwarden_testkit::{
    image::{Artifact, write_oci_layout},
    sample,
};

fn main() -> Result<(), Box<dyn Error>> {
    let directory: PathBuf = env::args_os()
        .nth(1)
        .ok_or("name a directory to write to")?
        .into();
    let sample = sample::image();
    write_oci_layout(&directory, &"1.4".parse()?, &sample.image)?;
    println!("{} {}", directory.display(), sample.image.digest());
    for package in &sample.expected {
        println!(
            "{} {} {}",
            package.kind.purl_type(),
            package.name,
            package.version
        );
    }
    Ok(())
}
