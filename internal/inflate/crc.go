package inflate

// crcPoly is the polynomial of CRC-32, its highest power in the lowest bit.
const crcPoly = 0xedb88320

// combine returns the CRC-32 of two runs, one behind the other, from that of
// each and the length of the second: crc(a)·x^(8n) + crc(b) modulo the
// polynomial, as zlib's crc32_combine has it.
func combine(a, b uint32, n int64) uint32 {
	if n == 0 {
		return a
	}
	return multiply(power(n), a) ^ b
}

// multiply returns a·b modulo the polynomial.
func multiply(a, b uint32) uint32 {
	var p uint32
	for m := uint32(1) << 31; m != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
		}
		b = b>>1 ^ crcPoly&-(b&1)
	}
	return p
}

// power returns x^(8n) modulo the polynomial.
func power(n int64) uint32 {
	p := uint32(1) << 31 // 1
	q := uint32(1) << 23 // x^8
	for ; n != 0; n >>= 1 {
		if n&1 != 0 {
			p = multiply(q, p)
		}
		q = multiply(q, q)
	}
	return p
}
