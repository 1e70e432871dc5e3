package inflate

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand"
	"os"
	"testing"
	"time"
)

func all(r *Reader) ([]byte, error) {
	var b []byte
	for {
		p, err := r.Next()
		b = append(b, p...)
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

func TestQuick(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for i := 0; i < 400; i++ {
		n := rnd.Intn(3 << 20)
		if i < 300 {
			n = rnd.Intn(3000)
		}
		data := make([]byte, n)
		k := 1 + rnd.Intn(255)
		for j := range data {
			if j > 40 && rnd.Intn(4) > 0 {
				data[j] = data[j-1-rnd.Intn(40)]
			} else {
				data[j] = byte(rnd.Intn(k))
			}
		}
		var buf bytes.Buffer
		w, _ := gzip.NewWriterLevel(&buf, rnd.Intn(12)-2)
		w.Write(data)
		w.Close()
		got, err := all(NewReader(&buf, Events{}))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatal(i, n, len(got), err)
		}
	}
}

func TestSpeed(t *testing.T) {
	f := os.Getenv("GZFILE")
	if f == "" {
		t.Skip()
	}
	b, _ := os.ReadFile(f)
	for range 3 {
		t0 := time.Now()
		r := NewReader(bytes.NewReader(b), Events{})
		n := 0
		for {
			p, err := r.Next()
			n += len(p)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		d := time.Since(t0)
		t.Logf("%d -> %d %.1f MB/s in, %.1f out", len(b), n, float64(len(b))/1e6/d.Seconds(), float64(n)/1e6/d.Seconds())
	}
}
