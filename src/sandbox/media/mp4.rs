//! A minimal MP4 that every player can play: H.264 whose macroblocks are stored, not coded (I_PCM).
//!
//! Storing the samples needs no encoder: parameter sets, one slice header per frame and then plain pixels (ITU-T H.264,
//! sections 7.3.2 to 7.3.5). Boxes as in ISO/IEC 14496-12.

/// Frames, and seconds: one frame a second.
pub(super) const FRAMES: u8 = 4;
/// Macroblocks of 16×16 pixels in a row, and rows.
const ACROSS: u8 = 2;
/// Pixels across and down.
const SIDE: u16 = 16 * ACROSS as u16;
/// Time units per second.
const TIMESCALE: u32 = 1000;
/// I_PCM among the macroblock types of an I slice (table 7-11).
const I_PCM: u32 = 25;

/// The file up to its padding, and the length of the whole: `size`, or more if it does not fit.
pub(super) fn head(colour: [u8; 3], size: u64) -> (Vec<u8>, u64) {
    let frames: Vec<_> = (0..FRAMES).map(|number| frame(number, colour)).collect();
    let ftyp = boxed(b"ftyp", &[b"isom\0\0\x02\0isomavc1mp41"]);
    // The chunk offset stands inside moov, whose length does not depend on it.
    let media_at = ftyp.len() + moov(&frames, 0).len() + 8;
    let moov = moov(&frames, be(media_at));
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut file = [ftyp, moov, boxed(b"mdat", &frames)].concat();

    let padding = size.saturating_sub(file.len() as u64).max(8);
    let length = file.len() as u64 + padding;
    match u32::try_from(padding) {
        Ok(padding) => {
            file.extend(padding.to_be_bytes());
            file.extend(b"free");
        }
        Err(_) => {
            file.extend(1_u32.to_be_bytes());
            file.extend(b"free");
            file.extend(padding.to_be_bytes());
        }
    }
    (file, length)
}

fn moov(frames: &[Vec<u8>], media_at: u32) -> Vec<u8> {
    let duration = u32::from(FRAMES) * TIMESCALE;
    let units = duration.to_be_bytes();
    let scale = TIMESCALE.to_be_bytes();
    let mvhd = boxed(
        b"mvhd",
        &[
            &[0; 12],
            &scale,
            &units,
            b"\0\x01\0\0\x01\0",
            &[0; 10],
            &MATRIX,
            &[0; 24],
            &[0, 0, 0, 2],
        ],
    );
    let side = [SIDE.to_be_bytes(), [0, 0]].concat();
    let tkhd = boxed(
        b"tkhd",
        &[
            b"\0\0\0\x03",
            &[0; 8],
            &[0, 0, 0, 1],
            &[0; 4],
            &units,
            &[0; 16],
            &MATRIX,
            &side,
            &side,
        ],
    );
    // 0x55C4 is the language code "und".
    let mdhd = boxed(b"mdhd", &[&[0; 12], &scale, &units, &[0x55, 0xC4, 0, 0]]);
    let hdlr = boxed(b"hdlr", &[&[0; 8], b"vide", &[0; 12], b"sandbox\0"]);

    let vmhd = boxed(b"vmhd", &[&[0, 0, 0, 1], &[0; 8]]);
    let dref = boxed(
        b"dref",
        &[&[0; 4], &[0, 0, 0, 1], &boxed(b"url ", &[&[0, 0, 0, 1]])],
    );
    let dinf = boxed(b"dinf", &[&dref]);
    let count = [0, 0, 0, FRAMES];
    let sizes: Vec<u8> = frames
        .iter()
        .flat_map(|frame| be(frame.len()).to_be_bytes())
        .collect();
    let one = [0, 0, 0, 1];
    let stsd = boxed(b"stsd", &[&[0; 4], &one, &avc1()]);
    let stts = boxed(b"stts", &[&[0; 4], &one, &count, &scale]);
    let stsc = boxed(b"stsc", &[&[0; 4], &one, &one, &count, &one]);
    let stsz = boxed(b"stsz", &[&[0; 8], &count, &sizes]);
    let stco = boxed(b"stco", &[&[0; 4], &one, &media_at.to_be_bytes()]);
    let stbl = boxed(b"stbl", &[&stsd, &stts, &stsc, &stsz, &stco]);
    let minf = boxed(b"minf", &[&vmhd, &dinf, &stbl]);
    let mdia = boxed(b"mdia", &[&mdhd, &hdlr, &minf]);
    boxed(b"moov", &[&mvhd, &boxed(b"trak", &[&tkhd, &mdia])])
}

/// The identity matrix of `mvhd` and `tkhd`.
const MATRIX: [u8; 36] = [
    0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, //
    0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0,
];

/// The sample entry: size, resolution (72 dpi), depth and the parameter sets.
fn avc1() -> Vec<u8> {
    let sps = sequence_parameters();
    let pps = picture_parameters();
    let avcc = boxed(
        b"avcC",
        &[
            &[1, sps[1], sps[2], sps[3], 0xFF, 0xE1],
            &[0, be(sps.len()).to_be_bytes()[3]],
            &sps,
            &[1, 0, be(pps.len()).to_be_bytes()[3]],
            &pps,
        ],
    );
    let side = SIDE.to_be_bytes();
    let resolution = b"\0\x48\0\0\0\x48\0\0";
    boxed(
        b"avc1",
        &[
            &[0; 6],
            &[0, 1],
            &[0; 16],
            &side,
            &side,
            resolution,
            &[0; 4],
            &[0, 1],
            &[0; 32],
            b"\0\x18\xFF\xFF",
            &avcc,
        ],
    )
}

fn sequence_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(8, 0x67); // nal_ref_idc 3, type 7
    bits.put(24, 0x42_C0_0A); // constrained baseline, level 1.0
    for value in [0, 0, 2, 1] {
        bits.golomb(value); // id, log2_max_frame_num - 4, picture order type, reference frames
    }
    bits.put(1, 0); // no gaps in frame_num
    bits.golomb(u32::from(ACROSS) - 1);
    bits.golomb(u32::from(ACROSS) - 1);
    bits.put(4, 0b1100); // frames only, direct 8x8, no cropping, no VUI
    bits.finish()
}

fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(8, 0x68); // nal_ref_idc 3, type 8
    bits.golomb(0); // id
    bits.golomb(0); // of this sequence
    bits.put(2, 0); // CAVLC, no bottom-field order
    for _ in 0..3 {
        bits.golomb(0); // one slice group, one reference each way
    }
    bits.put(3, 0); // no weighted prediction
    for _ in 0..3 {
        bits.golomb(0); // QP, QS and chroma QP offsets
    }
    bits.put(3, 0); // default deblocking, free intra prediction, no redundant pictures
    bits.finish()
}

/// One key frame with its length in front.
fn frame(number: u8, [luma, blue, red]: [u8; 3]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(8, 0x65); // nal_ref_idc 3, type 5: IDR
    bits.golomb(0); // first macroblock
    bits.golomb(7); // all slices are I
    bits.golomb(0); // picture parameters
    bits.put(4, 0); // frame_num
    bits.golomb(u32::from(number % 2)); // neighbouring IDR pictures differ in their id
    bits.put(2, 0); // output earlier pictures, no long-term reference
    bits.golomb(0); // QP delta, signed 0
    for block in 0..ACROSS * ACROSS {
        bits.golomb(I_PCM);
        bits.align();
        // Samples stay within 16..=239: no zero byte, so no emulation prevention is needed.
        let shade = 16 + luma.wrapping_add(number * 40).wrapping_add(block * 8) % 220;
        bits.repeat(256, shade);
        bits.repeat(64, 16 + blue % 224);
        bits.repeat(64, 16 + red % 224);
    }
    let unit = bits.finish();
    [&be(unit.len()).to_be_bytes()[..], &unit].concat()
}

/// Bits, most significant first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, count: u32, value: u32) {
        for index in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> index & 1 == 1) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// Unsigned Exp-Golomb (section 9.1).
    fn golomb(&mut self, value: u32) {
        let length = (value + 1).ilog2();
        self.put(length, 0);
        self.put(length + 1, value + 1);
    }

    fn align(&mut self) {
        self.used = 0;
    }

    /// Whole bytes; only where aligned.
    fn repeat(&mut self, count: usize, byte: u8) {
        self.bytes.resize(self.bytes.len() + count, byte);
    }

    /// With the stop bit that ends every unit.
    fn finish(mut self) -> Vec<u8> {
        self.put(1, 1);
        self.bytes
    }
}

fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&be(content.len() + 8).to_be_bytes()[..], name, &content].concat()
}

/// Lengths here are a few kilobytes at most.
fn be(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
