//! Inflates a gzip file a few times and prints how fast that was, read and written, by processor time: what else the
//! machine does hardly matters.

use std::{env, error::Error, fs};

const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("name a gzip file")?;
    let packed = fs::read(path)?;
    let mut times = Vec::new();
    let mut unpacked = 0;
    for _ in 0..ROUNDS {
        let start = processor_time()?;
        unpacked = inflate(&packed)?;
        times.push(processor_time()? - start);
    }
    times.sort_by(f64::total_cmp);
    let (least, middle) = (times[0], times[ROUNDS / 2]);
    let megabytes = |bytes: usize, time: f64| bytes as f64 / 1e6 / time;
    println!(
        "{NAME}: {:.0} MB/s in and {:.0} MB/s out at best, {:.0} and {:.0} in the middle of {ROUNDS}",
        megabytes(packed.len(), least),
        megabytes(unpacked, least),
        megabytes(packed.len(), middle),
        megabytes(unpacked, middle),
    );
    Ok(())
}

/// Returns how long this thread has run, in seconds (Linux, `Documentation/scheduler/sched-stats.rst`).
fn processor_time() -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().ok_or("no time")?.parse()?;
    Ok(nanoseconds / 1e9)
}

#[cfg(feature = "zlib-rs")]
const NAME: &str = "zlib-rs";
#[cfg(feature = "zlib-ng")]
const NAME: &str = "zlib-ng";
#[cfg(feature = "libdeflate")]
const NAME: &str = "libdeflate";

/// Inflates as a scan does, in pieces of 128 KiB.
#[cfg(any(feature = "zlib-rs", feature = "zlib-ng"))]
fn inflate(packed: &[u8]) -> Result<usize, Box<dyn Error>> {
    use std::io::Read as _;

    let mut decoder = flate2::bufread::MultiGzDecoder::new(packed);
    let mut piece = vec![0; 128 << 10];
    let mut unpacked = 0;
    loop {
        match decoder.read(&mut piece)? {
            0 => return Ok(unpacked),
            count => unpacked += count,
        }
    }
}

/// Inflates all at once: libdeflate has no other way.
#[cfg(feature = "libdeflate")]
fn inflate(packed: &[u8]) -> Result<usize, Box<dyn Error>> {
    // The size modulo 2^32 stands at the end (RFC 1952).
    let (_, size) = packed.split_last_chunk::<4>().ok_or("too short")?;
    let mut unpacked = vec![0; u32::from_le_bytes(*size) as usize];
    let count = libdeflater::Decompressor::new().gzip_decompress(packed, &mut unpacked)?;
    Ok(count)
}
