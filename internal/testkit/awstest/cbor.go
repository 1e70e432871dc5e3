package awstest

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
)

// isCBOR tells a request of the RPC protocol with CBOR, which CloudWatch
// speaks.
func isCBOR(r *http.Request) bool { return r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor" }

// CBOR answers a service of the RPC protocol with CBOR: the function for the
// operation gets the input, and its result is encoded. Values are strings,
// bools, ints, float64s, time.Times, []any and map[string]any. An *Error among
// the errors is answered as such.
func CBOR(operations map[string]func(in map[string]any) (map[string]any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operation := operationOf(r, nil)
		f, ok := operations[operation]
		if !ok {
			WriteError(w, r,
				&Error{Status: http.StatusBadRequest, Code: "UnknownOperationException", Message: operation})
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		if len(body) == 0 {
			body = cbor.Encode(cbor.Map{})
		}
		decoded, err := cbor.Decode(body)
		in, ok := fromCBOR(decoded).(map[string]any)
		if err != nil || !ok {
			WriteError(w, r,
				&Error{Status: http.StatusBadRequest, Code: "SerializationException", Message: fmt.Sprint(err)})
			return
		}
		out, err := f(in)
		if err != nil {
			writeAny(w, r, err)
			return
		}
		writeCBOR(w, http.StatusOK, out)
	})
}

func writeCBOR(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/cbor")
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.WriteHeader(status)
	_, _ = w.Write(cbor.Encode(toCBOR(v)))
}

func toCBOR(v any) cbor.Value {
	switch v := v.(type) {
	case string:
		return cbor.String(v)
	case bool:
		return cbor.Bool(v)
	case int:
		if v < 0 {
			return cbor.NegInt(-v)
		}
		return cbor.Uint(v)
	case float64:
		return cbor.Float64(v)
	case time.Time:
		const epoch = 1 // the tag of a point in time
		return &cbor.Tag{ID: epoch, Value: cbor.Float64(float64(v.UnixMilli()) / 1000)}
	case []any:
		list := make(cbor.List, len(v))
		for i, one := range v {
			list[i] = toCBOR(one)
		}
		return list
	case map[string]any:
		m := cbor.Map{}
		for key, one := range v {
			m[key] = toCBOR(one)
		}
		return m
	}
	panic(fmt.Sprintf("internal error: a %T cannot be written as CBOR", v))
}

// fromCBOR is the reverse, but for points in time, which come as float64.
func fromCBOR(v cbor.Value) any {
	switch v := v.(type) {
	case cbor.String:
		return string(v)
	case cbor.Bool:
		return bool(v)
	case cbor.Uint:
		return int(v)
	case cbor.NegInt:
		return -int(v)
	case cbor.Float32:
		return float64(v)
	case cbor.Float64:
		return float64(v)
	case *cbor.Tag:
		switch of := fromCBOR(v.Value).(type) {
		case int:
			return float64(of)
		default:
			return of
		}
	case cbor.List:
		list := make([]any, len(v))
		for i, one := range v {
			list[i] = fromCBOR(one)
		}
		return list
	case cbor.Map:
		m := map[string]any{}
		for key, one := range v {
			m[key] = fromCBOR(one)
		}
		return m
	}
	return nil
}
