// Package seal encrypts the content of files: server-side encryption as S3 has it. It knows neither files nor requests, only bytes, keys, and
// the record that says how a content is encrypted.
//
// A content is encrypted before it is cut into chunks, by AES-256 in counter mode: it keeps its size, any range can be decrypted by itself, and
// all below (chunks, erasure code, verification, repair, moves) works on ciphertext. That a byte read is the byte written, the hashes
// of the chunks say, as of any content.
//
// Each object has a data key of its own, 32 random bytes, which is kept in its record encrypted by another: by a key of the cluster (SSE-S3), or
// by one that the customer sends along with each request, and that is kept nowhere (SSE-C). So a copy may refer to the same stored
// bytes under another record: the data key is wrapped anew.
//
// # Invariants
//
//  1. No position of a keystream encrypts two bytes. The block of the counter is
//
//     part number (2 bytes) | nonce (8 bytes) | index of the block in the stream (6 bytes)
//
//     A stream is what one PUT, or one upload of a part, writes from its begin to its end, once; a Writer makes its nonce at random and goes
//     forward only. Within a stream indices differ: a content has at most 2^46 bytes (granary.FileSizeMax), which are 2^42 blocks, so the index
//     never carries into the nonce. Two streams under different data keys have nothing in common. Under one data key there is one stream, of
//     part number 0, if the object came in one PUT. If it came in parts, streams of different parts differ in the number; those that were
//     uploaded under the same number, one in place of the other, differ in the nonce, but for a chance of n*n/2^65 when it was uploaded n times:
//     2^-45 for a thousand times. A content, once it is stored, is not changed (package master, invariant 43); copies by
//     reference, and objects put together of parts, are the same bytes in the same positions (TestKeystreamIsUsedOnce).
//
//  2. A data key is wrapped under a key that is derived for this one wrap, of 16 random bytes, by HKDF-SHA-256, with AES-256-GCM: however many objects
//     there are, no nonce comes twice under a key. What says how (version, mode, id of the key) is authenticated with it. Where the object is
//     and what it is called is not: it may be renamed, and copied by reference.
//
//  3. A wrong key is known as such before a byte is decrypted: the wrap does not open (TestWrongKey).
//
//  4. Keys of the cluster are added, and never removed (package master, invariant 43): what was encrypted once stays readable.
//
// # Format
//
// Extended attribute granary.content.encryption of a file, and if it is longer than 60,000 bytes, granary.content.encryption.01, .02 … in
// that order. Numbers are unsigned varints unless said otherwise:
//
//	 1  version: 1
//	 1  mode: 1 key of the cluster, 2 of the customer
//	 8  id of the cluster's key; zeros for a customer's
//	16  salt from which the wrapping key is derived
//	12  nonce of the wrap
//	48  data key, encrypted, and tag; authenticated with it are the first 10 bytes
//	    for each run of streams of one size and consecutive part numbers, in the order of the content:
//	        how many; the first one's number less the one after the last of the run before; size of each in bytes,
//	        0 for all that is left of the content; for each 8 bytes of nonce
//
// The keys of the cluster are the secret granary.EncryptionKeys, one a line, of which the last one encrypts: 16 hexadecimal digits of id, a space, and
// the key in base64.
package seal
