//! Threads that work on parts of one thing.

use std::cmp::Reverse;
use std::thread;

/// What a thread yields; a panic in it goes on in the caller.
pub(crate) fn joined<T>(handle: thread::ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What `work` yields for each item, on a thread each, in the order of the items.
pub(crate) fn on_threads<I: Send, T: Send>(
    items: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let handles: Vec<_> = items
            .into_iter()
            .map(|item| scope.spawn(move || work(item)))
            .collect();
        handles.into_iter().map(joined).collect()
    })
}

/// Runs `work` on all items, on at most `threads` threads whose items have similar total sizes; the results are in the order
/// of the items.
pub(crate) fn for_each_balanced<I: Send, T: Send, E: Send>(
    items: Vec<I>,
    threads: usize,
    size: impl Fn(&I) -> usize,
    work: impl Fn(I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let mut bins: Vec<(usize, Vec<(usize, I)>)> = Vec::new();
    bins.resize_with(threads.clamp(1, items.len().max(1)), Default::default);
    let mut items: Vec<(usize, I)> = items.into_iter().enumerate().collect();
    items.sort_by_key(|(_, item)| Reverse(size(item)));
    for (at, item) in items {
        if let Some((load, bin)) = bins.iter_mut().min_by_key(|(load, _)| *load) {
            *load += size(&item);
            bin.push((at, item));
        }
    }
    let run = |bin: Vec<(usize, I)>| -> Result<Vec<(usize, T)>, E> {
        bin.into_iter().map(|(at, item)| Ok((at, work(item)?))).collect()
    };
    let bins = bins.into_iter().map(|(_, bin)| bin);
    let parts = on_threads(bins.filter(|bin| !bin.is_empty()), run);
    let mut results = Vec::new();
    for part in parts {
        results.extend(part?);
    }
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
