package testlayers

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"soci-index-builder/internal/imagefile/atomicfile"
)

// keepFrom bytes of data what was made of them is kept. Less is compressed as soon
// as it is read from a file, and fuzz tests make any number of small streams.
const keepFrom = 256 << 10

// keptFolder holds what compress/gzip of this Go version made of much data, since
// compressing takes a third of all time of the decoders' tests, and ten times as
// long under the race detector or an emulator. It may be removed at any time. Without
// a folder for the user's caches, nothing is kept.
var keptFolder = sync.OnceValue(func() string {
	caches, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	folder := filepath.Join(caches, "soci-index-builder-testlayers", runtime.Version())
	if os.MkdirAll(folder, 0o755) != nil {
		return ""
	}
	return folder
})

// kept returns what write makes of data at the level with flushes every step bytes:
// as it was kept, if its checksum is right, or newly made.
func kept(data []byte, level, step int, write func() []byte) []byte {
	folder := keptFolder()
	if folder == "" || len(data) < keepFrom || level == gzip.NoCompression {
		return write()
	}
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(level)), uint64(step)))
	h.Write(data)
	name := filepath.Join(folder, hex.EncodeToString(h.Sum(nil)))
	if b, err := os.ReadFile(name); err == nil && len(b) > sha256.Size {
		sum := sha256.Sum256(b[sha256.Size:])
		if bytes.Equal(sum[:], b[:sha256.Size]) {
			return b[sha256.Size:]
		}
	}
	b := write()
	sum := sha256.Sum256(b)
	_ = atomicfile.Write(name, append(sum[:], b...), 0o644) // where it fails, the next test makes it again
	return b
}
