package crc32c

import "hash/crc32"

// one is the polynomial 1: the highest bit stands for x to the power of 0, the lowest for x to the power of 31.
const one = 1 << 31

// Shift is what a checksum is multiplied by when so many bytes follow: x to the number of their bits, modulo the polynomial.
type Shift uint32

// ShiftOf returns the shift over size bytes, in a microsecond or so.
func ShiftOf(size int) Shift {
	power, square := uint32(one), uint32(one>>1)
	for bits := uint64(size) * 8; bits > 0; bits >>= 1 {
		if bits&1 != 0 {
			power = multiply(power, square)
		}
		square = multiply(square, square)
	}
	return Shift(power)
}

// Join returns the checksum of A followed by B, which has as many bytes as the shift is over.
func (s Shift) Join(a, b uint32) uint32 { return multiply(uint32(s), a) ^ b }

// multiply multiplies polynomials modulo that of the checksum.
func multiply(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}
