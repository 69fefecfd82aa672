//! The smallest still picture and the smallest moving one, in one colour each.

/// An 8×8 JPEG (ITU-T T.81): three blocks that consist of their average only.
pub(super) fn jpeg(colour: [u8; 3]) -> Vec<u8> {
    let mut file = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec();
    // One quantisation table of eights: an average of 8×8 samples is stored as it is.
    file.extend(b"\xFF\xDB\0\x43\0");
    file.extend([8; 64]);
    file.extend(b"\xFF\xC0\0\x11\x08\0\x08\0\x08\x03\x01\x11\0\x02\x11\0\x03\x11\0");
    // Averages: twelve magnitudes with codes of four bits. Details: one code, "no more", of one bit.
    file.extend(b"\xFF\xC4\0\x1F\0\0\0\0\x0C\0\0\0\0\0\0\0\0\0\0\0\0");
    file.extend(0..12);
    file.extend(b"\xFF\xC4\0\x14\x10\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    file.extend(b"\xFF\xDA\0\x0C\x03\x01\0\x02\0\x03\0\0\x3F\0");
    file.extend(averages(colour));
    file.extend(b"\xFF\xD9");
    file
}

/// The entropy-coded part: for each component the difference to mid-grey, then "no more".
fn averages(colour: [u8; 3]) -> Vec<u8> {
    let mut bits = String::new();
    for component in colour {
        let value = i32::from(component) - 128;
        let magnitude = value
            .unsigned_abs()
            .checked_ilog2()
            .map_or(0, |log| log + 1);
        bits.push_str(&format!("{magnitude:04b}"));
        if magnitude > 0 {
            // Negative numbers are written one lower, as their low bits.
            let low = if value < 0 { value - 1 } else { value };
            let mask = (1 << magnitude) - 1;
            let width = usize::try_from(magnitude).unwrap_or(0);
            bits.push_str(&format!("{:0width$b}", low & mask));
        }
        bits.push('0');
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    let mut bytes = Vec::new();
    for chunk in bits.as_bytes().chunks(8) {
        let byte = chunk
            .iter()
            .fold(0, |byte, bit| byte << 1 | u8::from(*bit == b'1'));
        bytes.push(byte);
        if byte == 0xFF {
            bytes.push(0);
        }
    }
    bytes
}

/// A 1×1 GIF (89a) that alternates between the colour and its opposite, for ever.
pub(super) fn gif(colour: [u8; 3]) -> Vec<u8> {
    let mut file = b"GIF89a\x01\0\x01\0\x80\0\0".to_vec();
    file.extend(colour);
    file.extend(colour.map(|part| !part));
    file.extend(b"\x21\xFF\x0BNETSCAPE2.0\x03\x01\0\0\0");
    // Clear, the index, end; in codes of three bits.
    for pixel in [b"\x44\x01", b"\x4C\x01"] {
        file.extend(b"\x21\xF9\x04\0\x32\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02");
        file.extend(pixel);
        file.push(0);
    }
    file.push(b';');
    file
}
