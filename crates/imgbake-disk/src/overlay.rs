//! Making a qcow2 overlay: an empty image on top of a backing file or of none, without any other program.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::{
    DiskError, DiskFormat, DiskImage, DiskSource, Result,
    bytes::{put, to_u64, to_usize},
    file::{HostFile, OutFile},
    gpt::Patch,
    qcow2::{HeaderFields, MAGIC, MAX_L1_BYTES},
};

/// Writes an empty qcow2 (version 3) of `virtual_size` bytes at `path`, over `backing_path`, which
/// is written into the image as it stands: relative, it is looked for beside the image. The
/// backing file need not exist yet. `cluster_bits` is 9 to 21; 12 makes small layers, 16 is
/// QEMU's default. The virtual size is rounded up to a sector of 512 bytes.
pub fn create_overlay(
    path: &Utf8Path,
    backing_path: &Utf8Path,
    backing_format: DiskFormat,
    virtual_size: u64,
    cluster_bits: u32,
) -> Result<()> {
    let backing = Some((backing_path, backing_format));
    create(path, backing, virtual_size, cluster_bits, &BTreeMap::new())
}

/// Writes an empty qcow2 (version 3) of `virtual_size` bytes at `path`, over no backing file: a new disk.
/// Otherwise as [`create_overlay`].
pub fn create_empty(path: &Utf8Path, virtual_size: u64, cluster_bits: u32) -> Result<()> {
    create(path, None, virtual_size, cluster_bits, &BTreeMap::new())
}

/// As [`create_overlay`], over a backing file that is there, with bytes that differ from it.
pub fn create_patched_overlay(
    path: &Utf8Path,
    backing: &DiskImage,
    virtual_size: u64,
    cluster_bits: u32,
    patches: &[Patch],
) -> Result<()> {
    let clusters = clusters(backing, 1 << cluster_bits.min(21), virtual_size, patches)
        .map_err(|e| e.in_file(path))?;
    let backing = Some((backing.path(), backing.format()));
    create(path, backing, virtual_size, cluster_bits, &clusters)
}

/// The whole clusters that patches lie in, by their number.
fn clusters(
    backing: &DiskImage,
    cluster: u64,
    virtual_size: u64,
    patches: &[Patch],
) -> Result<BTreeMap<u64, Vec<u8>>> {
    let mut clusters = BTreeMap::new();
    for Patch { offset, bytes } in patches {
        let end = offset.checked_add(to_u64(bytes.len()));
        let Some(end) = end.filter(|end| *end <= virtual_size) else {
            return Err(DiskError::unsupported("a patch past the disk's end"));
        };
        for number in offset / cluster..end.div_ceil(cluster) {
            let start = number * cluster;
            let mut whole = if let Some(whole) = clusters.remove(&number) {
                whole
            } else {
                let mut whole = vec![0; to_usize(cluster)];
                backing.read_at(start, &mut whole)?;
                whole
            };
            let (from, to) = ((*offset).max(start), end.min(start + cluster));
            let part = &bytes[to_usize(from - offset)..to_usize(to - offset)];
            put(&mut whole, to_usize(from - start), part);
            clusters.insert(number, whole);
        }
    }
    Ok(clusters)
}

fn create(
    path: &Utf8Path,
    backing: Option<(&Utf8Path, DiskFormat)>,
    virtual_size: u64,
    cluster_bits: u32,
    clusters: &BTreeMap<u64, Vec<u8>>,
) -> Result<()> {
    let image =
        build(backing, virtual_size, cluster_bits, clusters).map_err(|e| e.in_file(path))?;
    let out = OutFile::create(path)?;
    out.write(0, &image.head)?;
    for (at, bytes) in &image.rest {
        out.write(*at, bytes)?;
    }
    out.set_len(image.len)?;
    out.sync()
}

/// Names another backing file in an overlay's header: the same bytes, at another place. Whatever else
/// stands in the header's extensions is dropped; QEMU writes its table of feature names again.
pub fn rebase(path: &Utf8Path, backing_path: &Utf8Path, backing_format: DiskFormat) -> Result<()> {
    let out = OutFile::open(path)?;
    let mut fixed = [0; 104];
    HostFile::open(path)?.read(0, &mut fixed, "reading the qcow2 header")?;
    let field =
        |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (cluster_bits, header) = (field(20), to_usize(u64::from(field(100))));
    if fixed[..4] != MAGIC || field(4) != 3 || !(9..=21).contains(&cluster_bits) || header < 104 {
        return Err(DiskError::unsupported("an overlay that imgbake did not make").in_file(path));
    }
    let mut first = vec![0; 1 << cluster_bits];
    if header >= first.len() {
        return Err(DiskError::unsupported("a header of more than a cluster").in_file(path));
    }
    HostFile::open(path)?.read(0, &mut first[..header], "reading the qcow2 header")?;
    write_backing(&mut first, header, backing_path, backing_format).map_err(|e| e.in_file(path))?;
    out.write(0, &first)?;
    out.sync()
}

struct Overlay {
    /// Header, refcount table and the refcount block; the empty part of the L1 table after it is a hole.
    head: Vec<u8>,
    /// L1 entries, L2 tables and clusters, by their place.
    rest: Vec<(u64, Vec<u8>)>,
    len: u64,
}

fn build(
    backing: Option<(&Utf8Path, DiskFormat)>,
    virtual_size: u64,
    cluster_bits: u32,
    clusters: &BTreeMap<u64, Vec<u8>>,
) -> Result<Overlay> {
    if !(9..=21).contains(&cluster_bits) {
        return Err(DiskError::unsupported(format!("cluster size of 2^{cluster_bits} bytes")));
    }
    let cluster = 1_u64 << cluster_bits;
    let size = virtual_size.checked_next_multiple_of(512);
    let l1_entries = size.unwrap_or(u64::MAX).div_ceil(cluster * (cluster / 8));
    let (Some(size), true) = (size, l1_entries * 8 <= MAX_L1_BYTES) else {
        let why = format!("{virtual_size} bytes are too many for 2^{cluster_bits}-byte clusters");
        return Err(DiskError::unsupported(why));
    };
    // Clusters: the header, one refcount table, the refcount blocks, the L1 table, L2 tables, data.
    let l1_clusters = (l1_entries * 8).div_ceil(cluster).max(1);
    let l2_tables = tables(clusters, cluster / 8);
    let contents = to_u64(l2_tables.len() + clusters.len());
    let per_block = cluster / 2;
    let mut blocks = 1;
    while blocks * per_block < 2 + blocks + l1_clusters + contents {
        blocks += 1;
    }
    if blocks * 8 > cluster {
        let why = format!("{virtual_size} bytes are too many for 2^{cluster_bits}-byte clusters");
        return Err(DiskError::unsupported(why));
    }
    let l1_offset = (2 + blocks) * cluster;
    let total = 2 + blocks + l1_clusters + contents;
    let mut head = vec![0; to_usize((2 + blocks) * cluster)];
    for block in 0..blocks {
        let at = to_usize(cluster + block * 8);
        put(&mut head, at, &((2 + block) * cluster).to_be_bytes());
    }
    for index in 0..total {
        put(&mut head, to_usize(2 * cluster + index * 2), &1_u16.to_be_bytes());
    }
    let fields = HeaderFields {
        cluster_bits,
        size,
        l1_entries,
        l1_offset,
        refcount_offset: cluster,
        refcount_clusters: 1,
        zstd: false,
    };
    let end = fields.write(&mut head);
    if let Some((path, format)) = backing {
        write_backing(&mut head[..to_usize(cluster)], end, path, format)?;
    }
    let rest = place(clusters, &l2_tables, cluster, l1_offset, l1_offset + l1_clusters * cluster);
    Ok(Overlay { head, rest, len: total * cluster })
}

/// The numbers of the L2 tables that clusters need.
fn tables(clusters: &BTreeMap<u64, Vec<u8>>, per_table: u64) -> Vec<u64> {
    let mut tables: Vec<u64> = clusters.keys().map(|number| number / per_table).collect();
    tables.dedup();
    tables
}

/// L2 tables from `at` on, the clusters after them, and the L1 entries of the tables.
fn place(
    clusters: &BTreeMap<u64, Vec<u8>>,
    tables: &[u64],
    cluster: u64,
    l1_offset: u64,
    at: u64,
) -> Vec<(u64, Vec<u8>)> {
    // "L1 table entry", "Standard Cluster Descriptor": bit 63 says that the refcount is one.
    const COPIED: u64 = 1 << 63;
    let per_table = cluster / 8;
    let mut rest = Vec::new();
    let mut data = at + to_u64(tables.len()) * cluster;
    for (table_at, table) in (at..).step_by(to_usize(cluster)).zip(tables) {
        rest.push((l1_offset + table * 8, (table_at | COPIED).to_be_bytes().to_vec()));
        let mut entries = vec![0; to_usize(cluster)];
        for (number, bytes) in clusters.range(table * per_table..(table + 1) * per_table) {
            put(&mut entries, to_usize(number % per_table * 8), &(data | COPIED).to_be_bytes());
            rest.push((data, bytes.clone()));
            data += cluster;
        }
        rest.push((table_at, entries));
    }
    rest
}

/// The backing format extension, then the end of extensions, then the backing file's name.
fn write_backing(first: &mut [u8], at: usize, path: &Utf8Path, format: DiskFormat) -> Result<()> {
    let name = path.as_str().as_bytes();
    let kind = format.to_string();
    let name_at = at + 8 + kind.len().next_multiple_of(8) + 8;
    if name.is_empty() || name.len() > 1023 || name_at + name.len() > first.len() {
        return Err(DiskError::unsupported(format!("a backing path of {} bytes", name.len())));
    }
    put(first, at, &0xE279_2ACA_u32.to_be_bytes());
    put(first, at + 4, &u32::try_from(kind.len()).unwrap_or(0).to_be_bytes());
    put(first, at + 8, kind.as_bytes());
    put(first, name_at, name);
    put(first, 8, &to_u64(name_at).to_be_bytes());
    put(first, 16, &u32::try_from(name.len()).unwrap_or(0).to_be_bytes());
    Ok(())
}
