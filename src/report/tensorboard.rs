//! Records of a TensorBoard event file.
//!
//! A file is a row of records, which can be read while it grows. A record is a `TFRecord`: the length of
//! its data as a little-endian `u64`, a checksum of that, the data, a checksum of those
//! (<https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details>). The data
//! are one protobuf message `Event`
//! (<https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/util/event.proto> and
//! `summary.proto`). Of it seven fields are needed, which is less than a protobuf library would ask
//! for. Wall times are seconds since 1970.

use crc::{CRC_32_ISCSI, Crc};

/// What a file must begin with.
const FILE_VERSION: &str = "brain.Event:2";

/// CRC32C, as the format wants it.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The first record of every file.
pub fn header(wall_time: f64) -> Vec<u8> {
    record(&event(wall_time, None).text(3, FILE_VERSION))
}

/// The numbers of one step, by tag. TensorBoard makes a group of tags with the same word before a
/// `/`. The format has single precision only.
pub fn scalars(wall_time: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let summary = values.iter().fold(Message::default(), |summary, value| {
        let (tag, number) = *value;
        let value = Message::default().text(1, tag).float(2, number as f32);
        summary.message(1, &value)
    });
    record(&event(wall_time, Some(step)).message(5, &summary))
}

/// Takes back what earlier files of the folder say of this step and later ones: a training that was
/// cut off goes on from there.
pub fn resumed_at(wall_time: f64, step: u64) -> Vec<u8> {
    const START: u64 = 1;
    let session = Message::default().number(1, START);
    record(&event(wall_time, Some(step)).message(7, &session))
}

fn event(wall_time: f64, step: Option<u64>) -> Message {
    let event = Message::default().double(1, wall_time);
    match step {
        Some(step) => event.number(2, step),
        None => event,
    }
}

fn record(event: &Message) -> Vec<u8> {
    let length = (event.0.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(event.0.len() + 16);
    bytes.extend(length);
    bytes.extend(masked_checksum(&length).to_le_bytes());
    bytes.extend(&event.0);
    bytes.extend(masked_checksum(&event.0).to_le_bytes());
    bytes
}

/// Masked, so that a checksum of data that hold checksums is not a weak one.
fn masked_checksum(bytes: &[u8]) -> u32 {
    const MASK: u32 = 0xa282_ead8;
    CHECKSUM.checksum(bytes).rotate_right(15).wrapping_add(MASK)
}

/// A protobuf message that is being written
/// (<https://protobuf.dev/programming-guides/encoding/>).
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(self, field: u64, value: u64) -> Self {
        self.key(field, 0).varint(value)
    }

    fn double(self, field: u64, value: f64) -> Self {
        self.key(field, 1).raw(&value.to_le_bytes())
    }

    fn float(self, field: u64, value: f32) -> Self {
        self.key(field, 5).raw(&value.to_le_bytes())
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.delimited(field, text.as_bytes())
    }

    fn message(self, field: u64, message: &Self) -> Self {
        self.delimited(field, &message.0)
    }

    fn delimited(self, field: u64, bytes: &[u8]) -> Self {
        self.key(field, 2).varint(bytes.len() as u64).raw(bytes)
    }

    fn key(self, field: u64, wire_type: u64) -> Self {
        self.varint(field << 3 | wire_type)
    }

    /// Seven bits a byte, the lowest first; all bytes but the last have the eighth set.
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<Vec<_>>().concat()
    }

    /// What `EventFileLoader` and `EventAccumulator` of the Python package tensorboard 2.21.0 read as
    /// these times, steps, tags and values, checksums included; the last record but one takes back
    /// the one before it.
    #[test]
    fn records_are_what_tensorboard_reads() {
        let losses = [("loss/train", 0.75), ("rmse/validation", 2.140_625)];
        let written = [
            header(1_764_536_400.5),
            scalars(1_764_536_401.5, 1, &losses),
            scalars(1_764_536_402.5, 300, &[("loss/train", f64::NAN)]),
            resumed_at(1_764_536_403.5, 2),
            scalars(1_764_536_404.5, 2, &[("loss/train", -0.5)]),
        ];
        let golden = [
            "1800000000000000a37f4b2209000020142c4bda411a0d627261696e2e4576656e743a32bc9e9ed6",
            "3800000000000000a3797d5709000060142c4bda4110012a2b0a110a0a6c6f73732f747261696e15\
             0000403f0a160a0f726d73652f76616c69646174696f6e1500000940e91810bf",
            "2100000000000000017becf6090000a0142c4bda4110ac022a130a110a0a6c6f73732f747261696e15\
             0000c07f5feb9664",
            "0f000000000000006d532b09090000e0142c4bda4110023a020801e1160562",
            "200000000000000029eda95009000020152c4bda4110022a130a110a0a6c6f73732f747261696e15\
             000000bf9e644672",
        ];
        assert_eq!(written.map(|record| hex(&record)), golden);
    }

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        // Appendix B.4, and the check value of the catalogue of CRCs.
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe306_9283);
        assert_eq!(CHECKSUM.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(CHECKSUM.checksum(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn numbers_have_as_many_bytes_as_they_need() {
        let bytes = |value| hex(&Message::default().varint(value).0);
        assert_eq!([bytes(0), bytes(127), bytes(128)], ["00", "7f", "8001"]);
        assert_eq!(bytes(u64::MAX), "ffffffffffffffffff01");
    }
}
