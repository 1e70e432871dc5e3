package inflate

import "hash/crc32"

// IncompletePrecode is where the decoder is stricter than compress/flate.
const IncompletePrecode = whatIncompletePrecode

// Combine is combine.
func Combine(a, b []byte) uint32 {
	return combine(crc32.ChecksumIEEE(a), crc32.ChecksumIEEE(b), int64(len(b)))
}

// FindHeaders returns all places that the finder takes for the start of a
// block in a stream.
func FindHeaders(stream []byte) []int {
	in := append(stream[:len(stream):len(stream)], make([]byte, 64)...)[:len(stream)]
	var (
		f      finder
		places []int
	)
	for at := 0; ; at++ {
		if at = f.next(in, at, 8*len(in)); at < 0 {
			return places
		}
		places = append(places, at)
	}
}
