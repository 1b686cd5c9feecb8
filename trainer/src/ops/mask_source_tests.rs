//! The C functions of `mask.cu`, compiled by the machine's C compiler, compared with the masks in Rust.

use std::io::Write;
use std::process::{Command, Stdio};

use candle_core::{Device, Tensor};
use tempfile::TempDir;

use crate::ops::dropout::Dropout;
use crate::ops::mask::{Mask, SOURCE};
use crate::ops::values;
use crate::ops::weight_mask::{QueryWeights, masked_weights};

/// Reads a table and elements from the standard input, and writes them masked.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mask.cu"

int main(int argc, char **argv) {
    unsigned int n[9];
    for (int at = 0; at < 9; at++) n[at] = strtoul(argv[at + 1], 0, 10);
    unsigned int rows = n[4], heads = n[5], queries = n[6], keys = n[7], from = n[8], numbers = 0;
    float scale;
    memcpy(&scale, &n[3], 4);
    if (queries > 0) numbers = rows / heads * 4;
    unsigned int *table = malloc(4ull * numbers + 1);
    float *x = malloc(4ull * rows * keys);
    if (fread(table, 4, numbers, stdin) != numbers || fread(x, 4, rows * keys, stdin) != rows * keys) return 1;
    for (unsigned int row = 0; row < rows; row++) {
        for (unsigned int column = 0; column < keys; column++) {
            unsigned int at = row * keys + column;
            float y = queries > 0
                ? masked_weight(x, table, row, column, heads, queries, keys, n[0], n[1], n[2], scale)
                : masked(x[at], from + at, n[0], n[1], n[2], scale);
            fwrite(&y, 4, 1, stdout);
        }
    }
    return argc != 10;
}
"#;

struct Compiled {
    dir: TempDir,
}

impl Compiled {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("mask.cu"), SOURCE).unwrap();
        std::fs::write(path("main.c"), PROGRAM).unwrap();
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let status = Command::new(compiler)
            .args([
                "-std=c99",
                "-O1",
                "-Wall",
                "-Werror",
                "-Wno-unused-function",
                "-o",
            ])
            .args([path("main"), path("main.c")])
            .status()
            .unwrap();
        assert!(status.success());
        Self { dir }
    }

    /// The bits of the masked elements. `extents` are rows, heads, queries, keys and the first position.
    fn masked(&self, mask: Mask, extents: [usize; 5], table: &[u32], x: &[f32]) -> Vec<u32> {
        let numbers = mask.numbers().into_iter().map(|number| number as usize);
        let mut child = Command::new(self.dir.path().join("main"))
            .args(numbers.chain(extents).map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let table = table.iter().flat_map(|number| number.to_le_bytes());
        let input: Vec<u8> = table.chain(x.iter().flat_map(|x| x.to_le_bytes())).collect();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success());
        let (bits, rest) = output.stdout.as_chunks::<4>();
        assert!(rest.is_empty());
        bits.iter().map(|&bits| u32::from_le_bytes(bits)).collect()
    }
}

fn elements(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at as f32 - 7.3) * 0.37).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn the_kernel_of_elements_has_the_masks_bits() {
    let compiled = Compiled::new();
    for (seed, p) in [(1, 0.1), (2, 0.5), (u64::MAX, 0.9)] {
        let mask = Dropout::seeded(seed).next(p).unwrap();
        // Positions are modulo 2^32.
        for from in [0, 12_345, 0xFFFF_FF00] {
            let mut expected = elements(4000);
            mask.multiply(&mut expected, from);
            let found = compiled.masked(mask, [1, 1, 0, 4000, from], &[], &elements(4000));
            assert_eq!(found, bits(&expected), "{seed} {p} {from}");
        }
    }
}

#[test]
fn the_kernel_of_attention_weights_has_the_positions_of_the_unpadded_weights() {
    let compiled = Compiled::new();
    let mask = Dropout::seeded(9).next(0.3).unwrap();
    let (lengths, heads, longest) = ([3, 1, 67, 19], 3, 67);
    let total: usize = lengths.iter().map(|length| heads * length * length).sum();
    // Among the last of 2^32 positions too.
    for first in [0, (1 << 32) - total / 2] {
        // The unpadded weights that each padded query attends to, in a window of its own.
        let (mut queries, mut from) = (Vec::new(), first);
        for length in lengths {
            queries.extend((0..longest).map(|query| match query < length {
                true => {
                    let (start, end) = (query.saturating_sub(20), length.min(query + 9));
                    let from = from + query * length + start;
                    QueryWeights {
                        start,
                        end,
                        from,
                        of_head: length * length,
                    }
                }
                false => QueryWeights::default(),
            }));
            from += heads * length * length;
        }
        let mut unpadded = elements(total);
        mask.multiply(&mut unpadded, first);
        let mut x = vec![7.5; lengths.len() * heads * longest * longest];
        let mut expected = vec![0f32; x.len()];
        for (block, length) in lengths.into_iter().enumerate() {
            for head in 0..heads {
                for query in queries[block * longest..][..length].iter().enumerate() {
                    let (
                        row,
                        QueryWeights {
                            start,
                            end,
                            from,
                            of_head,
                        },
                    ) = query;
                    let weight = from - start - first + head * of_head;
                    let at = ((block * heads + head) * longest + row) * longest;
                    x[at..][..length].copy_from_slice(&elements(total)[weight..][..length]);
                    expected[at + start..at + end].copy_from_slice(&unpadded[weight + start..weight + end]);
                }
            }
        }
        let shape = (lengths.len(), heads, longest, longest);
        let weights = Tensor::from_slice(&x, shape, &Device::Cpu).unwrap();
        let masked = masked_weights(&weights, queries.iter().copied(), mask).unwrap();
        assert_eq!(bits(&values(&masked).unwrap()), bits(&expected));
        let table = queries
            .iter()
            .flat_map(|query| [query.start, query.end, query.from, query.of_head]);
        let table: Vec<u32> = table.map(|number| number as u32).collect();
        let extents = [lengths.len() * heads * longest, heads, longest, longest, 0];
        assert_eq!(compiled.masked(mask, extents, &table, &x), bits(&expected));
    }
}
