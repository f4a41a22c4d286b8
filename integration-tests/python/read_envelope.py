"""Reads stored values as docs/envelope.md specifies them, with none of this project's code.

    read_envelope.py GOLDEN_FOLDER

decodes every golden envelope, compares it with its value, checks that damaged copies are refused, and
exits with 1 on the first difference. It prints one line for each file.
"""

import json
import pathlib
import struct
import sys

import lz4.block
import msgpack
import snappy
import xxhash
import zstandard
from Crypto.Cipher import AES, ChaCha20_Poly1305

MAGIC = bytes.fromhex("F5F85345")
DICTIONARY, ENCRYPTED = 1, 2
NONE, LZ4, SNAPPY, ZSTD = range(4)
MAX_RATIO = {LZ4: 255, SNAPPY: 22, ZSTD: 32_768}
NONCE_LEN = {1: 12, 2: 24}
TAG_LEN = 16


class Corrupt(Exception):
    """The stored bytes are marked as an envelope and are no valid one."""


def read(stored, key=b"", dictionaries={}, secrets={}, limit=64 << 20):
    """The raw value that the stored bytes stand for."""
    if not is_marked(stored):
        return stored
    if len(stored) < 8 or stored[:4] != MAGIC or stored[4] != 1:
        raise Corrupt("no envelope of version 1")
    algorithm, flags, cipher = stored[5:8]
    if algorithm > ZSTD or flags & ~(DICTIONARY | ENCRYPTED):
        raise Corrupt("unknown algorithm or flag")
    if flags & DICTIONARY and algorithm != ZSTD:
        raise Corrupt("a dictionary with an algorithm that takes none")
    if flags & ENCRYPTED:
        dictionary, body = decrypt(stored, key, flags, cipher, secrets)
        lengths, payload = body[:20], body[20:]
    elif cipher:
        raise Corrupt("a cipher without encryption")
    else:
        lengths, rest = stored[8:28], stored[28:]
        dictionary, payload = (u32(rest, 0), rest[4:]) if flags & DICTIONARY else (None, rest)
    if len(lengths) < 20:
        raise Corrupt("cut off")
    raw_len, checksum = u32(lengths, 0), lengths[4:]
    check_lengths(algorithm, len(payload), raw_len)
    if raw_len > limit:
        raise OverflowError("larger than the limit")
    value = decompress(algorithm, payload, raw_len, dictionary, dictionaries)
    if len(value) != raw_len or xxhash.xxh3_128_digest(value) != checksum:
        raise Corrupt("length or checksum does not match")
    return value


def is_marked(stored):
    if len(stored) < 4:
        return len(stored) > 0 and MAGIC.startswith(stored)
    return (u32(stored, 0) ^ u32(MAGIC, 0)).bit_count() <= 1


def u32(data, offset):
    try:
        return struct.unpack_from(">I", data, offset)[0]
    except struct.error as error:
        raise Corrupt("cut off") from error


def decrypt(stored, key, flags, cipher, secrets):
    if cipher not in NONCE_LEN:
        raise Corrupt("unknown cipher")
    start = 16 if flags & DICTIONARY else 12
    dictionary = u32(stored, 12) if flags & DICTIONARY else None
    clear = start + NONCE_LEN[cipher]
    if len(stored) < clear + TAG_LEN:
        raise Corrupt("cut off")
    secret, nonce = secrets[u32(stored, 8)], stored[start:clear]
    if cipher == 1:
        opener = AES.new(secret, AES.MODE_GCM, nonce=nonce)
    else:
        opener = ChaCha20_Poly1305.new(key=secret, nonce=nonce)
    opener.update(stored[:clear] + key)
    try:
        return dictionary, opener.decrypt_and_verify(stored[clear:-TAG_LEN], stored[-TAG_LEN:])
    except ValueError as error:
        raise Corrupt("not authentic") from error


def check_lengths(algorithm, payload_len, raw_len):
    if algorithm == NONE:
        possible = payload_len == raw_len
    else:
        possible = payload_len < raw_len and raw_len // MAX_RATIO[algorithm] <= payload_len
    if not possible:
        raise Corrupt("the raw length does not fit the payload")


def decompress(algorithm, payload, raw_len, dictionary, dictionaries):
    try:
        if algorithm == NONE:
            return payload
        if algorithm == LZ4:
            return lz4.block.decompress(payload, uncompressed_size=raw_len)
        if algorithm == SNAPPY:
            return snappy.uncompress(payload)
        return decompress_zstd(payload, raw_len, None if dictionary is None else dictionaries[dictionary])
    except (lz4.block.LZ4BlockError, snappy.UncompressError, zstandard.ZstdError) as error:
        raise Corrupt("the payload does not decode") from error


def decompress_zstd(payload, raw_len, dictionary):
    if zstandard.frame_content_size(payload) != raw_len:
        raise Corrupt("the frame states another length")
    dictionary = dictionary and zstandard.ZstdCompressionDict(dictionary)
    decoder = zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj()
    value = decoder.decompress(payload)
    if not decoder.eof or decoder.unused_data:
        raise Corrupt("not exactly one frame")
    return value


def check_envelopes(folder, manifest):
    dictionary = (folder / "dictionary.bin").read_bytes()
    dictionaries = {zstandard.ZstdCompressionDict(dictionary).dict_id(): dictionary}
    secrets = {int(number): bytes.fromhex(secret) for number, secret in manifest["secrets"].items()}
    for golden in manifest["envelopes"]:
        stored, expected = ((folder / golden[name]).read_bytes() for name in ("stored", "value"))
        key = golden["key"].encode()
        if read(stored, key, dictionaries, secrets) != expected:
            sys.exit(f"{golden['stored']}: decodes to something else than {golden['value']}")
        cuts = 0
        for cut in range(1, len(stored)) if is_marked(stored) else ():
            try:
                read(stored[:cut], key, dictionaries, secrets)
            except Corrupt:
                cuts += 1
            else:
                sys.exit(f"{golden['stored']}: cut off at {cut} and not refused")
        print(f"ok {golden['stored']}: {len(stored)} -> {len(expected)} bytes, {cuts} cuts refused")


def check_records(folder):
    for name in ("plain", "record-v1", "record-v2"):
        from_json = json.loads((folder / f"{name}.json").read_bytes())
        from_msgpack = msgpack.unpackb((folder / f"{name}.msgpack").read_bytes())
        if from_json != from_msgpack:
            sys.exit(f"{name}: JSON and MessagePack hold different records")
        print(f"ok {name}: JSON and MessagePack hold the same record")


def main():
    folder = pathlib.Path(sys.argv[1])
    manifest = json.loads((folder / "golden.json").read_text())
    check_envelopes(folder, manifest)
    check_records(folder)
    print(f"{len(manifest['envelopes'])} envelopes and 3 records read")


if __name__ == "__main__":
    main()
