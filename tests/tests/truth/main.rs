//! A real root file system, made by the package managers of many ecosystems, against what those say of it, and against
//! other scanners. A tool that is missing is named on a line `not run: …`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod debian;
mod image;
mod node;
mod peers;
mod php;
mod python;
mod root;
mod ruby;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use self::image::RealImage;

/// Runs a tool and returns what it prints; says so and returns nothing if there is no such tool.
fn output_of(command: &mut Command) -> Option<String> {
    let tool = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).stderr(Stdio::inherit()).output() {
        Ok(output) => {
            assert!(output.status.success(), "{tool} failed: {}", output.status);
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            let tool = Path::new(&tool).file_name().unwrap().display();
            println!("not run: {tool} ({error})");
            None
        }
    }
}

/// Scans an image with the program, and returns the report of its one platform.
fn scan(image: &RealImage) -> Value {
    let test_program = std::env::current_exe().unwrap();
    let program = test_program.ancestors().nth(2).unwrap().join("portwarden");
    let name = format!("oci:{}", image.layout().display());
    let report = output_of(Command::new(program).args(["scan", &name, "--format", "json"])).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["partial"], false);
    report["platforms"][0].clone()
}

/// One test, since the image takes a while.
#[test]
fn a_real_image_holds_what_its_tools_and_other_scanners_say() {
    let Some(image) = RealImage::make() else {
        return;
    };
    let report = scan(&image);
    assert_eq!(report["os"]["id"], "debian");
    let packages: Vec<&Value> = report["packages"].as_array().unwrap().iter().collect();
    for (layer, root) in image.roots.iter().enumerate() {
        // Each package came with the layer that has its files.
        let (of_root, _): (Vec<_>, Vec<_>) = packages
            .iter()
            .partition(|package| package["layer"]["index"] == layer);
        root.compare(&of_root);
    }
    peers::compare(&image, &report);
}
