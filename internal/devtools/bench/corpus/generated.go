package corpus

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
)

// Noise is an archive of files that do not compress, as those that are
// compressed already.
type Noise struct {
	Files int
	Size  int64 // bytes of each
}

// Identify tells the numbers.
func (n Noise) Identify(w io.Writer) error {
	_, err := fmt.Fprintf(w, "noise %d %d\n", n.Files, n.Size)
	return err
}

// WriteTar generates the files.
func (n Noise) WriteTar(ctx context.Context, out *Tar) error {
	for i := range n.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.File(fmt.Sprintf("noise/%04d.bin", i), 0o644, n.Size, noise(uint64(i))); err != nil {
			return err
		}
	}
	return nil
}

func noise(seed uint64) io.Reader {
	var key [32]byte
	key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24)
	return rand.NewChaCha8(key)
}

// Log is an archive of one file that compresses well, as a log does.
type Log struct {
	Size int64
	Seed uint64

	// Noise is added behind as a file of its own, in bytes.
	Noise int64
}

// Identify tells the numbers.
func (l Log) Identify(w io.Writer) error {
	_, err := fmt.Fprintf(w, "log %d %d %d\n", l.Size, l.Seed, l.Noise)
	return err
}

// WriteTar generates the file.
func (l Log) WriteTar(ctx context.Context, out *Tar) error {
	if err := out.File("var/log/access.log", 0o644, l.Size,
		&lines{ctx: ctx, r: rand.New(rand.NewPCG(l.Seed, 1))}); err != nil {
		return err
	}
	if l.Noise == 0 {
		return nil
	}
	return out.File("var/cache/noise.bin", 0o644, l.Noise, noise(l.Seed))
}

// Repeated is an archive of one file in which a piece of a log comes again and
// again: it compresses so well that many gigabytes of it are soon made.
type Repeated struct {
	Size int64
	Seed uint64
}

// repeatedPiece is what comes again, in bytes: less than deflate looks back.
const repeatedPiece = 20_000

// Identify tells the numbers.
func (r Repeated) Identify(w io.Writer) error {
	_, err := fmt.Fprintf(w, "repeated %d %d\n", r.Size, r.Seed)
	return err
}

// WriteTar generates the file.
func (r Repeated) WriteTar(ctx context.Context, out *Tar) error {
	piece := make([]byte, repeatedPiece)
	if _, err := io.ReadFull(&lines{ctx: ctx, r: rand.New(rand.NewPCG(r.Seed, 3))}, piece); err != nil {
		return err
	}
	return out.File("var/log/again.log", 0o644, r.Size, &again{ctx: ctx, piece: piece})
}

// again is a piece without end.
type again struct {
	ctx   context.Context
	piece []byte
	at    int
}

func (a *again) Read(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) {
		k := copy(p[n:], a.piece[a.at:])
		n, a.at = n+k, (a.at+k)%len(a.piece)
	}
	return n, nil
}

// lines is an endless log.
type lines struct {
	ctx  context.Context
	r    *rand.Rand
	time int64
	rest []byte // not yet read
	line []byte
}

var paths = []string{"/", "/index.html", "/static/app.js", "/static/app.css", "/api/v1/items/", "/api/v1/users/",
	"/healthz", "/images/"}

func (l *lines) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) {
		if len(l.rest) == 0 {
			l.rest = l.next()
		}
		k := copy(p[n:], l.rest)
		n, l.rest = n+k, l.rest[k:]
	}
	return n, nil
}

func (l *lines) next() []byte {
	l.time += int64(l.r.IntN(900))
	draw := l.r.Uint64()
	b := append(l.line[:0], "192.168."...)
	b = strconv.AppendUint(b, draw&7, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, draw>>3&127, 10)
	b = append(b, " - - ["...)
	b = strconv.AppendInt(b, 1_000_000_000_000+l.time, 10)
	b = append(b, `] "GET `...)
	path := paths[draw>>10&7]
	b = append(b, path...)
	if path[len(path)-1] == '/' && len(path) > 1 {
		b = strconv.AppendUint(b, draw>>16&0xffff, 10)
	}
	b = append(b, ` HTTP/1.1" 200 `...)
	b = strconv.AppendUint(b, draw>>32&0xfff, 10)
	b = append(b, ` "-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"`+"\n"...)
	l.line = b
	return b
}

// Tiny is an archive of many small files, a hundred in each directory.
type Tiny struct{ Files int }

// Identify tells the number.
func (t Tiny) Identify(w io.Writer) error {
	_, err := fmt.Fprintf(w, "tiny %d\n", t.Files)
	return err
}

// WriteTar generates the files.
func (t Tiny) WriteTar(ctx context.Context, out *Tar) error {
	r := rand.New(rand.NewPCG(uint64(t.Files), 2))
	content := &lines{ctx: ctx, r: r}
	for i := range t.Files {
		dir := fmt.Sprintf("srv/data/%02d/%04d", i/10_000, i/100)
		if err := out.File(fmt.Sprintf("%s/%07d.txt", dir, i), 0o644, int64(r.IntN(300)), content); err != nil {
			return err
		}
	}
	return nil
}
