use std::collections::BTreeMap;

use super::{
    BLOCK, DatabaseError, FORMAT, Info, MAGIC, Text,
    bytes::{put_number, put_text},
    hash,
};
use crate::{Advisory, Affected, Bulk, Interval};

/// Writes a database; the same advisories give the same bytes.
pub fn build(bulk: &Bulk) -> Result<Vec<u8>, DatabaseError> {
    let kept: Vec<&Advisory> = bulk
        .advisories
        .values()
        .filter(|advisory| !advisory.is_withdrawn && !advisory.affected.is_empty())
        .collect();
    let packages = affected_by_package(&kept);
    let info = Info {
        advisories: kept.len() as u64,
        packages: packages.len() as u64,
        withdrawn: bulk
            .advisories
            .values()
            .filter(|advisory| advisory.is_withdrawn)
            .count() as u64,
        ecosystems: bulk.ecosystems.clone(),
    };
    let (index, packages) = write_packages(&packages)?;
    let (offsets, heads) = write_heads(&kept)?;
    let (blocks, texts) = write_texts(&kept)?;
    let info = serde_json::to_vec(&info).map_err(|_| DatabaseError::Corrupt)?;
    let mut body = Vec::new();
    let sections = [&info, &index, &packages, &offsets, &heads, &blocks, &texts];
    for section in sections {
        body.extend_from_slice(&(section.len() as u64).to_le_bytes());
    }
    for section in sections {
        body.extend_from_slice(section);
    }
    let mut file = Vec::with_capacity(super::HEADER + body.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&FORMAT.to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    file.extend_from_slice(&(body.len() as u64).to_le_bytes());
    file.append(&mut body);
    Ok(file)
}

type ByPackage<'a> = BTreeMap<(&'a str, &'a str), Vec<(usize, &'a Affected)>>;

fn affected_by_package<'a>(advisories: &[&'a Advisory]) -> ByPackage<'a> {
    let mut packages = ByPackage::new();
    for (index, advisory) in advisories.iter().enumerate() {
        for affected in &advisory.affected {
            packages
                .entry((&affected.ecosystem, &affected.name))
                .or_default()
                .push((index, affected));
        }
    }
    packages
}

/// Writes the buckets' starts and the packages; about one package a bucket.
fn write_packages(packages: &ByPackage<'_>) -> Result<(Vec<u8>, Vec<u8>), DatabaseError> {
    let count = packages.len().max(1).next_power_of_two();
    let mut buckets: Vec<Vec<_>> = vec![Vec::new(); count];
    for (key, affected) in packages {
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits count")]
        let bucket = hash(key.0, key.1) as usize & (count - 1);
        buckets[bucket].push((key, affected));
    }
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for bucket in buckets {
        put_offset(&mut index, data.len())?;
        for ((ecosystem, name), affected) in bucket {
            let mut entry = Vec::new();
            put_number(&mut entry, affected.len() as u64);
            for (advisory, affected) in affected {
                put_number(&mut entry, *advisory as u64);
                put_versions(&mut entry, affected);
            }
            put_text(&mut data, ecosystem);
            put_text(&mut data, name);
            put_number(&mut data, entry.len() as u64);
            data.append(&mut entry);
        }
    }
    put_offset(&mut index, data.len())?;
    Ok((index, data))
}

fn put_versions(to: &mut Vec<u8>, affected: &Affected) {
    put_number(to, affected.intervals.len() as u64);
    for Interval { introduced, until } in &affected.intervals {
        let (kind, version) = until.as_parts();
        put_text(to, introduced);
        to.push(kind);
        put_text(to, version);
    }
    put_number(to, affected.versions.len() as u64);
    for version in &affected.versions {
        put_text(to, version);
    }
}

fn write_heads(advisories: &[&Advisory]) -> Result<(Vec<u8>, Vec<u8>), DatabaseError> {
    let (mut offsets, mut heads) = (Vec::new(), Vec::new());
    for advisory in advisories {
        put_offset(&mut offsets, heads.len())?;
        put_text(&mut heads, &advisory.id);
        for ids in [&advisory.aliases, &advisory.upstream] {
            put_number(&mut heads, ids.len() as u64);
            for id in ids {
                put_text(&mut heads, id);
            }
        }
        heads.push(advisory.severity.level as u8);
        // 0 is none, so that one byte is enough.
        heads.push(advisory.severity.score_tenths.map_or(0, |tenths| tenths + 1));
    }
    put_offset(&mut offsets, heads.len())?;
    Ok((offsets, heads))
}

fn write_texts(advisories: &[&Advisory]) -> Result<(Vec<u8>, Vec<u8>), DatabaseError> {
    let (mut blocks, mut data) = (Vec::new(), Vec::new());
    for block in advisories.chunks(BLOCK) {
        let texts: Vec<Text> = block.iter().map(|advisory| Text::of(advisory)).collect();
        let plain = serde_json::to_vec(&texts).map_err(|_| DatabaseError::Corrupt)?;
        put_offset(&mut blocks, data.len())?;
        let compressed = zstd::bulk::compress(&plain, 9).map_err(|_| DatabaseError::Corrupt)?;
        data.extend_from_slice(&compressed);
    }
    put_offset(&mut blocks, data.len())?;
    Ok((blocks, data))
}

impl Text {
    fn of(advisory: &Advisory) -> Self {
        Self {
            summary: advisory.summary.clone(),
            vector: advisory.severity.vector.clone(),
            links: advisory.links.clone(),
            modified: advisory.modified,
            published: advisory.published,
        }
    }
}

fn put_offset(to: &mut Vec<u8>, offset: usize) -> Result<(), DatabaseError> {
    let offset = u32::try_from(offset).map_err(|_| DatabaseError::TooLarge)?;
    to.extend_from_slice(&offset.to_le_bytes());
    Ok(())
}
