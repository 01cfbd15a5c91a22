//! VMDK, `streamOptimized` (VMware, "Virtual Disk Format 5.0", "Stream-Optimized Compressed
//! Sparse Extents"): grains of 64 KiB in a row, each grain table after its grains, footer last.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};

use super::{options::ExportOptions, pipeline, progress::Progress};
use crate::{
    DiskError, DiskSource, Result,
    bytes::{put, to_u64, to_usize},
    file::OutFile,
    guid,
};

const SECTOR: u64 = 512;
const GRAIN: u64 = 65536;
const GRAIN_SECTORS: u64 = GRAIN / SECTOR;
const TABLE_ENTRIES: u64 = 512;
const DESCRIPTOR_SECTORS: u64 = 20;
/// Valid newline test, compressed grains, markers.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
const DIRECTORY_AT_END: u64 = u64::MAX;

/// Marker types: "Markers".
const MARKER_END: u32 = 0;
const MARKER_TABLE: u32 = 1;
const MARKER_DIRECTORY: u32 = 2;
const MARKER_FOOTER: u32 = 3;

pub(super) fn write(
    source: &dyn DiskSource,
    out: &OutFile,
    options: &ExportOptions,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let mut stream = Stream::new(out, source.virtual_size(), options)?;
    let encoder = || {
        Ok(|bytes: &[u8]| {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(6));
            zlib.write_all(bytes)
                .and_then(|()| zlib.finish())
                .map_err(|e| DiskError::io("cannot compress", e))
        })
    };
    pipeline::run(source, GRAIN, options.threads, progress, encoder, |index, grain| {
        stream.add(index, &grain)
    })?;
    stream.finish()
}

struct Stream<'a> {
    out: &'a OutFile,
    capacity: u64,
    /// Where the next sector goes.
    end: u64,
    directory: Vec<u32>,
    table: Vec<u32>,
    table_index: Option<u64>,
}

impl<'a> Stream<'a> {
    fn new(out: &'a OutFile, size: u64, options: &ExportOptions) -> Result<Self> {
        // "capacity should be a multiple of the grain size".
        let capacity = size.div_ceil(GRAIN) * GRAIN_SECTORS;
        let tables = capacity.div_ceil(GRAIN_SECTORS * TABLE_ENTRIES);
        if u32::try_from(capacity).is_err() {
            return Err(DiskError::unsupported(format!("a VMDK of {size} bytes: 2 TiB at most")));
        }
        let stream = Self {
            out,
            capacity,
            end: GRAIN_SECTORS,
            directory: vec![0; to_usize(tables)],
            table: vec![0; to_usize(TABLE_ENTRIES)],
            table_index: None,
        };
        out.write(0, &stream.header(DIRECTORY_AT_END))?;
        out.write(
            SECTOR,
            descriptor(capacity, guid::derive_u32(&options.seed, "vmdk")).as_bytes(),
        )?;
        Ok(stream)
    }

    /// "Hosted Sparse Extent Header".
    fn header(&self, directory: u64) -> [u8; 512] {
        let mut header = [0; 512];
        put(&mut header, 0, b"KDMV");
        put(&mut header, 4, &3_u32.to_le_bytes());
        put(&mut header, 8, &FLAGS.to_le_bytes());
        put(&mut header, 12, &self.capacity.to_le_bytes());
        put(&mut header, 20, &GRAIN_SECTORS.to_le_bytes());
        put(&mut header, 28, &1_u64.to_le_bytes());
        put(&mut header, 36, &DESCRIPTOR_SECTORS.to_le_bytes());
        put(&mut header, 44, &512_u32.to_le_bytes());
        put(&mut header, 56, &directory.to_le_bytes());
        put(&mut header, 64, &GRAIN_SECTORS.to_le_bytes());
        put(&mut header, 73, b"\n \r\n");
        put(&mut header, 77, &1_u16.to_le_bytes());
        header
    }

    /// Writes whole sectors at the end; returns the first one's number.
    fn append(&mut self, bytes: &[u8]) -> Result<u32> {
        let at = self.end;
        self.out.write(at * SECTOR, bytes)?;
        self.end += to_u64(bytes.len()).div_ceil(SECTOR);
        u32::try_from(at).map_err(|_| DiskError::unsupported("a VMDK file larger than 2 TiB"))
    }

    fn marker(&mut self, kind: u32, sectors: u64) -> Result<()> {
        let mut marker = [0; 512];
        put(&mut marker, 0, &sectors.to_le_bytes());
        put(&mut marker, 12, &kind.to_le_bytes());
        self.append(&marker).map(drop)
    }

    fn add(&mut self, index: u64, packed: &[u8]) -> Result<()> {
        let table = index / TABLE_ENTRIES;
        if self.table_index != Some(table) {
            self.flush_table()?;
            self.table_index = Some(table);
        }
        let mut grain = Vec::with_capacity(12 + packed.len());
        grain.extend((index * GRAIN_SECTORS).to_le_bytes());
        grain.extend(u32::try_from(packed.len()).unwrap_or(u32::MAX).to_le_bytes());
        grain.extend(packed);
        let at = self.append(&grain)?;
        self.table[to_usize(index % TABLE_ENTRIES)] = at;
        Ok(())
    }

    fn flush_table(&mut self) -> Result<()> {
        let Some(index) = self.table_index.take() else { return Ok(()) };
        let bytes: Vec<u8> = self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.table.fill(0);
        self.marker(MARKER_TABLE, to_u64(bytes.len()) / SECTOR)?;
        self.directory[to_usize(index)] = self.append(&bytes)?;
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush_table()?;
        let bytes: Vec<u8> = self.directory.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.marker(MARKER_DIRECTORY, to_u64(bytes.len()).div_ceil(SECTOR))?;
        let directory = self.append(&bytes)?;
        self.marker(MARKER_FOOTER, 1)?;
        let footer = self.header(directory.into());
        self.append(&footer)?;
        self.marker(MARKER_END, 0)?;
        self.out.set_len(self.end * SECTOR)
    }
}

/// "The Descriptor File". The extent's name is not the file's: it is renamed anyway.
fn descriptor(capacity: u64, content_id: u32) -> String {
    let cylinders = (capacity / (255 * 63)).clamp(1, 65535);
    format!(
        "# Disk DescriptorFile\nversion=1\nCID={content_id:08x}\nparentCID=ffffffff\n\
         createType=\"streamOptimized\"\n\n# Extent description\n\
         RW {capacity} SPARSE \"disk.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n\
         ddb.virtualHWVersion = \"7\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\n\
         ddb.adapterType = \"lsilogic\"\n"
    )
}
