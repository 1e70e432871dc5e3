package stack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxTemplate is the size in bytes of an emitted template at most.
// CloudFormation accepts 51,200 in a request, and more only from a bucket. The rest
// is left for later versions of the template.
const MaxTemplate = 51_000

// ErrTooLarge: a template has more than MaxTemplate bytes.
var ErrTooLarge = errors.New("the template is too large")

// Emit returns a synthesized template as it is committed and deployed: as short
// as JSON can be, but for a line for each parameter, resource and output. The
// error matches ErrTooLarge, or is that of text that is no JSON object.
func Emit(text []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := lines(&out, text, 2); err != nil {
		return nil, fmt.Errorf("emitting the template: %w", err)
	}
	out.WriteByte('\n')
	if out.Len() > MaxTemplate {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, out.Len(), MaxTemplate)
	}
	return out.Bytes(), nil
}

// lines writes an object with a line for each member, down to a depth. The
// order of the members stays.
func lines(out *bytes.Buffer, text []byte, depth int) error {
	if text = bytes.TrimSpace(text); depth == 0 || !bytes.HasPrefix(text, []byte("{")) {
		return json.Compact(out, text)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return err
	}
	if !d.More() {
		out.WriteString("{")
	}
	for between := "{\n"; d.More(); between = ",\n" {
		name, err := d.Token()
		if err != nil {
			return err
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return err
		}
		out.WriteString(between)
		out.Write(quoted)
		out.WriteByte(':')
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := lines(out, value, depth-1); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	_, err := d.Token()
	return err
}
