// Package functionzip makes zip files that stand for functions. It links no registry,
// so that a program of the tests starts as fast as a real one.
package functionzip

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// New returns the zip file of a function for an architecture, as Go names it:
// the head of a static executable, and text to tell it from others.
func New(architecture, text string) ([]byte, error) {
	machine, ok := map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}[architecture]
	if !ok {
		return nil, fmt.Errorf("no functions for %q", architecture)
	}
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Ehsize: 64, Phoff: 64,
		Phentsize: 56, Phnum: 1}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = 1
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("bootstrap")
	if err != nil {
		return nil, err
	}
	for _, part := range []any{h, elf.Prog64{Type: uint32(elf.PT_LOAD)}, []byte(text)} {
		err = errors.Join(err, binary.Write(w, binary.LittleEndian, part))
	}
	err = errors.Join(err, z.Close())
	return b.Bytes(), err
}
