//! The files: playable, of the wanted size, and of one video each.

use heygen_tracker::sandbox::media::Media;

use super::*;

fn bytes(id: &str, asset: &str, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut media = Media::new(id, 0, asset, size);
    media.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn videos_have_the_wanted_size_and_their_own_content() {
    let one = bytes("one", "video", 20_000);
    assert_eq!(one.len(), 20_000);
    assert_eq!(one, bytes("one", "video", 20_000));
    let two = bytes("two", "video", 20_000);
    let captioned = bytes("one", "captioned", 20_000);
    for other in [&two, &captioned] {
        let same = one[10_000..]
            .iter()
            .zip(&other[10_000..])
            .filter(|(a, b)| a == b);
        assert!(same.count() < 200);
    }
}

#[test]
fn any_range_is_a_slice_of_the_whole() {
    let media = Media::new("one", 0, "video", 12_345);
    let all = bytes("one", "video", 12_345);
    for (start, end) in [(0, 1), (6_000, 8_003), (12_000, 12_345), (12_344, 99_999)] {
        let mut part = Vec::new();
        let mut reader = media.clone().part(start..end);
        reader.read_to_end(&mut part).unwrap();
        let end = usize::try_from(end).unwrap().min(all.len());
        assert_eq!(part, all[usize::try_from(start).unwrap()..end]);
    }
}

#[test]
fn boxes_fill_the_file_exactly() {
    for size in [0, 7_000, 100_000] {
        let file = bytes("one", "video", size);
        let mut names = Vec::new();
        let mut at = 0;
        while at < file.len() {
            let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
            names.push(String::from_utf8(file[at + 4..at + 8].to_vec()).unwrap());
            at += usize::try_from(length).unwrap();
        }
        assert_eq!(at, file.len());
        assert_eq!(names, ["ftyp", "moov", "free", "mdat", "free"]);
    }
}

#[test]
fn a_file_of_many_gigabytes_is_no_burden() {
    let media = Media::new("one", 0, "video", 6_000_000_000);
    let mut tail = media.part(5_999_999_990..7_000_000_000);
    assert_eq!(tail.read(&mut [0; 64]).unwrap(), 10);
}
