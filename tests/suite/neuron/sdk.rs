//! Where the interpreter of an SDK is looked for. Interpreters without one are below `tests/errors/`.

use super::{Bench, ONE};
use crate::support::fixture;

#[test]
fn the_python_of_path_is_the_last_resort() {
    let Some(mut bench) = Bench::new("inf1") else {
        return;
    };
    let model = fixture("feature-extraction").display().to_string();
    let arguments = [&["trace", &model, "--chip", "inf1", "-o", "b"], &ONE[..]].concat();
    let path = format!("{}:/usr/bin:/bin", bench.place.path("sdk/bin").display());
    bench.place.set("PATH", &path);
    bench.place.run(&arguments).succeeds();
}
