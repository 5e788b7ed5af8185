//! Weights and checkpoints as bytes.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::Context as _;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::{Array, Checkpoint, Weights};

/// Weights as safetensors. Equal weights give equal bytes.
pub fn encode_weights(weights: &Weights) -> anyhow::Result<Vec<u8>> {
    Ok(encode(weights, None)?.concat())
}

/// Reads weights from safetensors.
pub fn decode_weights(bytes: &[u8]) -> anyhow::Result<Weights> {
    decode(&SafeTensors::deserialize(bytes)?)
}

/// Where a checkpoint keeps its counters and its history among the metadata of its tensors.
const STATE: &str = "state";
const HISTORY: &str = "history";

/// A checkpoint as safetensors, in parts that follow one another. Of a large net they are hundreds of
/// megabytes, and whoever ended the training waits for them: nothing is copied.
pub fn encode_checkpoint(checkpoint: &Checkpoint) -> anyhow::Result<Vec<Cow<'_, [u8]>>> {
    let metadata = HashMap::from([
        (STATE.to_owned(), checkpoint.state.clone()),
        (
            HISTORY.to_owned(),
            serde_json::to_string(&checkpoint.history)?,
        ),
    ]);
    encode(&checkpoint.tensors, Some(metadata))
}

/// Reads a checkpoint.
pub fn decode_checkpoint(bytes: &[u8]) -> anyhow::Result<Checkpoint> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let metadata = metadata.metadata().as_ref();
    let entry = |name: &str| {
        let found = metadata.and_then(|all| all.get(name));
        found.with_context(|| format!("it has no {name}"))
    };
    Ok(Checkpoint {
        state: entry(STATE)?.clone(),
        history: serde_json::from_str(entry(HISTORY)?)?,
        tensors: decode(&SafeTensors::deserialize(bytes)?)?,
    })
}

/// The header, and the values of each array.
fn encode(
    weights: &Weights,
    metadata: Option<HashMap<String, String>>,
) -> anyhow::Result<Vec<Cow<'_, [u8]>>> {
    let mut parts = vec![Cow::Owned(header(weights, metadata)?)];
    parts.extend(weights.values().map(|array| bytes_of(&array.values)));
    Ok(parts)
}

/// What stands before the values: its own length and what each array is, filled up with blanks so that
/// the values begin at a multiple of 8 bytes. The format wants equal types by name, as they stand here.
fn header(weights: &Weights, metadata: Option<HashMap<String, String>>) -> anyhow::Result<Vec<u8>> {
    let mut end = 0;
    let infos = weights.iter().map(|(name, array)| {
        let begin = end;
        end += size_of_val(array.values.as_slice());
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: array.shape.clone(),
            data_offsets: (begin, end),
        };
        (name.clone(), info)
    });
    let metadata = Metadata::new(metadata, infos.collect())?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

fn bytes_of(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(values));
    }
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    Cow::Owned(bytes.collect())
}

fn decode(tensors: &SafeTensors<'_>) -> anyhow::Result<Weights> {
    let mut weights = Weights::new();
    for (name, view) in tensors.tensors() {
        anyhow::ensure!(
            view.dtype() == Dtype::F32,
            "weight {name} is {:?}, expected F32",
            view.dtype()
        );
        let (chunks, _) = view.data().as_chunks::<4>();
        let values = chunks
            .iter()
            .map(|chunk| f32::from_le_bytes(*chunk))
            .collect();
        weights.insert(
            name,
            Array {
                shape: view.shape().to_vec(),
                values,
            },
        );
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    #[test]
    fn weights_read_as_they_were_written() {
        let array = |shape: &[usize], values: &[f32]| Array {
            shape: shape.to_vec(),
            values: values.to_vec(),
        };
        let weights = Weights::from([
            (
                "b".to_owned(),
                array(&[2, 2], &[1.0, -2.5, 0.0, f32::MIN_POSITIVE]),
            ),
            ("a.long.name".to_owned(), array(&[0], &[])),
        ]);
        let bytes = encode_weights(&weights).unwrap();
        assert_eq!(bytes, encode_weights(&weights.clone()).unwrap());
        assert_eq!(decode_weights(&bytes).unwrap(), weights);
        assert!(decode_weights(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode_weights(b"").is_err());
        assert_eq!(
            decode_weights(&encode_weights(&Weights::new()).unwrap()).unwrap(),
            Weights::new()
        );
    }

    #[test]
    fn a_checkpoint_reads_as_it_was_written() {
        let values = vec![0.1, f32::MIN_POSITIVE, -0.0];
        let array = Array {
            shape: vec![3],
            values,
        };
        let checkpoint = Checkpoint {
            state: "{\"epoch\":2}".to_owned(),
            history: vec![Epoch {
                epoch: 1,
                train_loss: Some(0.1 + 0.2),
                validation_loss: 1.0 / 3.0,
                validation_rmse: 2.0,
                learning_rate: 1e-3,
            }],
            tensors: Weights::from([("weights".to_owned(), array)]),
        };
        let bytes = encode_checkpoint(&checkpoint).unwrap().concat();
        assert_eq!(decode_checkpoint(&bytes).unwrap(), checkpoint);
        assert!(decode_checkpoint(&bytes[..bytes.len() - 1]).is_err());
        let weights = encode_weights(&checkpoint.tensors).unwrap();
        let error = decode_checkpoint(&weights).unwrap_err();
        assert!(error.to_string().contains("no state"), "{error}");
    }
}
