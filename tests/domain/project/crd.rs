//! The CRD that is checked in is the one that the program prints, and small enough for plain `kubectl apply`.

use std::{path::Path, process::Command};

const PATH: &str = "crds/pleo.io_pleoconnections.yaml";

fn checked_in() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH)).expect(PATH)
}

#[test]
fn the_crd_in_the_repository_is_the_one_that_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_pleo-operator")).arg("crd").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed == checked_in(), "{PATH} is old: run `cargo run -- crd > {PATH}`");
}

/// `kubectl apply` keeps a copy in an annotation, and annotations have 256 KiB at most.
#[test]
fn the_crd_is_small_enough_for_plain_kubectl_apply() {
    assert!(checked_in().len() < 256 * 1024);
}
