//! Pages of libraries that only the start needed: to load libtorch, and to run a graph for the first time,
//! is to run through code and tables of which most are never looked at again.

use std::io;
use std::ops::Range;

use neuronc::files;
use rustix::mm::{Advice, madvise};

/// Unmaps what this process has of files that it only reads; what it needs comes back from the page
/// cache. Fails when the kernel does not say what is mapped.
pub fn release() -> anyhow::Result<()> {
    for pages in read_only(&files::read_text("/proc/self/smaps".as_ref())?) {
        let start = std::ptr::with_exposed_provenance_mut(pages.start);
        // SAFETY: nothing in these pages differs from their file, and nothing can be written to them.
        #[expect(unsafe_code, reason = "only maps of files keep their content")]
        unsafe {
            madvise(start, pages.len(), Advice::LinuxDontNeed).map_err(io::Error::from)?;
        }
    }
    Ok(())
}

/// The maps of files that cannot be written to and have no page that was: a library's relocated tables
/// are such pages. `smaps` as in proc_pid_smaps(5).
fn read_only(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut current = None;
    let mut own_pages = false;
    for line in smaps.lines() {
        match line.split_once(':') {
            Some(("Anonymous" | "Swap", size)) => own_pages |= size.trim() != "0 kB",
            // The last line of each map.
            Some(("VmFlags", _)) => {
                found.extend(current.take().filter(|_| !own_pages));
                own_pages = false;
            }
            Some((key, _)) if !key.contains(' ') => {}
            _ => current = file_map(line),
        }
    }
    found
}

/// The addresses of a private map of a file that may only be read or run, given its first line.
fn file_map(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let flags = words.next()?;
    let path = words.nth(3)?;
    let is_file = path.starts_with('/') && !path.starts_with("/dev/");
    let address = |text| usize::from_str_radix(text, 16).ok();
    (is_file && matches!(flags, "r--p" | "r-xp")).then_some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
10000-20000 r-xp 00001000 fe:00 12 /lib/with space: libtorch.so
Size:                 64 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
20000-30000 r--p 00001000 fe:00 12 /lib/relocated.so
Anonymous:             4 kB
Swap:                  0 kB
VmFlags: rd mr mw me
30000-40000 r--p 00001000 fe:00 12 /lib/swapped.so
Anonymous:             0 kB
Swap:                  4 kB
VmFlags: rd mr mw me
40000-50000 rw-p 00001000 fe:00 12 /lib/written.so
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd wr mr mw me
50000-60000 r--s 00001000 fe:00 12 /weights.safetensors
Anonymous:             0 kB
VmFlags: rd mr mw me
60000-70000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
VmFlags: rd ex mr mw me
70000-80000 r--p 00000000 00:05 7 /dev/neuron0
Anonymous:             0 kB
VmFlags: rd mr mw me
80000-90000 r--p 00001000 fe:00 12 /lib/libc.so
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd mr mw me
";

    #[test]
    fn only_what_is_as_in_its_file_is_let_go_of() {
        assert_eq!(read_only(SMAPS), [0x10000..0x20000, 0x80000..0x90000]);
        assert!(read_only("").is_empty());
    }

    #[test]
    fn the_process_goes_on_with_less_in_memory() {
        let of_files = || {
            let rollup = files::read_text("/proc/self/smaps_rollup".as_ref()).unwrap();
            let line = rollup.lines().find(|line| line.starts_with("Pss_File"));
            let size = line.unwrap().split_whitespace().nth(1).unwrap();
            size.parse::<u64>().unwrap()
        };
        let before = of_files();
        release().unwrap();
        assert!(of_files() < before);
        let sum = tch::Tensor::from_slice(&[1.0, 2.0])
            .f_sum(tch::Kind::Double)
            .unwrap();
        assert_eq!(sum.f_double_value(&[]).unwrap(), 3.0);
    }
}
