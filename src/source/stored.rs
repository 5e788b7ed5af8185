//! What is stored of a range whose end is yet to come, where nothing may be asked for.

use super::SourceError;

/// Offline, an open range ends where what is stored ends. So an older answer, which ends where its part
/// ended, is the last one of its places: behind it there would be a hole. What was never stored is told by
/// its address, as is by `older` what an older answer stands for; `alike` are parts of the same places.
pub(super) fn stored_ones<P, G>(
    got: Vec<Result<G, String>>,
    parts: &[P],
    is_open: bool,
    alike: impl Fn(&P, &P) -> bool,
    older: impl Fn(&G) -> Option<&str>,
) -> Result<Vec<(&P, G)>, SourceError> {
    let mut all: Vec<(&P, G)> = Vec::new();
    let mut absent: Option<(&P, String)> = None;
    for (one, part) in got.into_iter().zip(parts) {
        let begins = all.last().is_none_or(|(last, _)| !alike(last, part));
        match one {
            Ok(one) => {
                if let Some((before, url)) = absent.take()
                    && alike(before, part)
                {
                    return Err(SourceError::NotStored { url });
                }
                absent = older(&one).map(|url| (part, url.to_owned()));
                all.push((part, one));
            }
            Err(url) if begins || !is_open => return Err(SourceError::NotStored { url }),
            Err(url) => absent = absent.or(Some((part, url))),
        }
    }
    Ok(all)
}
