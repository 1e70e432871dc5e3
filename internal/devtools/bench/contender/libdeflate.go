//go:build libdeflate && cgo

package contender

/*
#cgo LDFLAGS: -ldeflate
#include <stdlib.h>
#include <libdeflate.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"unsafe"
)

func init() {
	all[Deflate] = func(in Input) (func() (Output, error), error) { return libdeflate(in, false) }
	all[DeflateCR] = func(in Input) (func() (Output, error), error) { return libdeflate(in, true) }
	Versions = append(Versions, "libdeflate "+C.LIBDEFLATE_VERSION_STRING)
}

// libdeflate decompresses the whole layer at once: it has no streams.
func libdeflate(in Input, crc bool) (func() (Output, error), error) {
	blob, err := os.ReadFile(in.Path)
	if err != nil {
		return nil, err
	}
	d := C.libdeflate_alloc_decompressor()
	// The room is C's, so that Go does not zero it.
	room := C.size_t(in.Uncompressed + 1)
	out := C.malloc(room)
	if d == nil || out == nil {
		return nil, errors.New("out of memory")
	}
	defer C.libdeflate_free_decompressor(d)
	defer C.free(out)
	var total int64
	for len(blob) > 0 {
		var used, made C.size_t
		var r C.enum_libdeflate_result
		dst := unsafe.Add(out, total)
		if crc {
			r = C.libdeflate_gzip_decompress_ex(d, unsafe.Pointer(&blob[0]), C.size_t(len(blob)), dst,
				room-C.size_t(total), &used, &made)
		} else {
			n, err := gzipHeader(blob)
			if err != nil {
				return nil, err
			}
			r = C.libdeflate_deflate_decompress_ex(d, unsafe.Pointer(&blob[n]), C.size_t(len(blob)-n), dst,
				room-C.size_t(total), &used, &made)
			used += C.size_t(n + gzipTrailer)
		}
		if r != C.LIBDEFLATE_SUCCESS || used > C.size_t(len(blob)) {
			return nil, fmt.Errorf("libdeflate's error %d", int(r))
		}
		blob = blob[used:]
		total += int64(made)
	}
	return decompressed(total)
}
