//go:build conformance && cgo

package contender

/*
#cgo LDFLAGS: -l:libz.a
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

// The stream lives in C's memory: it holds pointers into itself.
static z_stream *stream_new(int bits) {
	z_stream *s = calloc(1, sizeof *s);
	if (s != NULL && inflateInit2(s, bits) != Z_OK) {
		free(s);
		return NULL;
	}
	return s;
}

static void stream_free(z_stream *s) {
	inflateEnd(s);
	free(s);
}

// Decompresses *n bytes of in by way of out, whose content is dropped. It
// stops behind the end of the stream and leaves in *n what is not used.
static int stream_run(z_stream *s, void *in, size_t *n, void *out, size_t out_n, long long *total) {
	int r = Z_OK;
	s->next_in = in;
	s->avail_in = *n;
	do {
		s->next_out = out;
		s->avail_out = out_n;
		r = inflate(s, Z_NO_FLUSH);
		*total += out_n - s->avail_out;
	} while (r == Z_OK && (s->avail_in > 0 || s->avail_out == 0));
	*n = s->avail_in;
	return r;
}
*/
import "C"

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"
)

func init() {
	all[Zlib] = func(in Input) (func() (Output, error), error) { return zlib(in, false) }
	all[ZlibCRC] = func(in Input) (func() (Output, error), error) { return zlib(in, true) }
	Versions = append(Versions, "zlib "+C.GoString(C.zlibVersion()))
}

const zlibBuffer = 256 << 10

// zlib decompresses the layer. The members' headers and trailers are read by
// zlib with the CRC, and by us without it.
func zlib(in Input, crc bool) (func() (Output, error), error) {
	f, err := os.Open(in.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bits := -15 // no header, no trailer, no checksum
	if crc {
		bits = 15 + 16
	}
	s := C.stream_new(C.int(bits))
	if s == nil {
		return nil, errors.New("out of memory")
	}
	defer C.stream_free(s)
	// The stream keeps pointers, so the buffers are C's.
	inBuf, outBuf := C.malloc(zlibBuffer), C.malloc(zlibBuffer)
	defer C.free(inBuf)
	defer C.free(outBuf)

	r := bufio.NewReaderSize(f, zlibBuffer)
	var total C.longlong
	for {
		head, err := r.Peek(zlibBuffer)
		if len(head) == 0 && errors.Is(err, io.EOF) {
			return decompressed(int64(total))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		trailer := 0
		if !crc {
			n, err := gzipHeader(head)
			if err != nil {
				return nil, err
			}
			r.Discard(n) // all of it is in the buffer
			trailer = gzipTrailer
		}
		for end := false; !end; {
			if _, err := r.Peek(1); err != nil {
				return nil, fmt.Errorf("inside of a member: %w", err)
			}
			b, _ := r.Peek(r.Buffered())
			n := copy(unsafe.Slice((*byte)(inBuf), zlibBuffer), b)
			left := C.size_t(n)
			switch code := C.stream_run(s, inBuf, &left, outBuf, zlibBuffer, &total); code {
			case C.Z_OK, C.Z_BUF_ERROR:
			case C.Z_STREAM_END:
				end = true
			default:
				return nil, fmt.Errorf("zlib's error %d", int(code))
			}
			r.Discard(n - int(left)) // all of it is in the buffer
		}
		C.inflateReset(s)
		if _, err := r.Discard(trailer); err != nil {
			return nil, fmt.Errorf("the trailer: %w", err)
		}
	}
}
