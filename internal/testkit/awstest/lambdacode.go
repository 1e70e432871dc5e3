package awstest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// LambdaCode is the code that Lambda's functions have: what CloudFormation gave
// them, until it is changed in place. New code takes a while until it runs.
type LambdaCode struct {
	// S3 has the code of functions that are zip files.
	S3 *S3

	mu        sync.Mutex
	functions map[string]*functionCode // by name
	failing   map[string]string        // reasons, by name
}

type functionCode struct {
	sum     string
	image   string // URI; empty for zip files
	given   string // by CloudFormation, as JSON
	pending int    // questions to which an update still goes on
	failed  string // why the last update failed
	inPlace int    // how often it was changed in place
}

// NewLambdaCode returns one without functions.
func NewLambdaCode(s3 *S3) *LambdaCode {
	return &LambdaCode{S3: s3, functions: map[string]*functionCode{}, failing: map[string]string{}}
}

// pendingFor is for how many questions an update goes on.
const pendingFor = 2

// Deploy is what CloudFormation does with the property Code of a function: it
// has it changed only when the property is another one than before.
func (c *LambdaCode) Deploy(name string, code any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	given, _ := json.Marshal(code) // it came from JSON
	f := c.functions[name]
	if f != nil && f.given == string(given) {
		return
	}
	if f == nil {
		f = &functionCode{}
		c.functions[name] = f
	}
	f.given = string(given)
	var of struct{ S3Bucket, S3Key, ImageUri string }
	_ = json.Unmarshal(given, &of)
	sum, err := c.sum(of.S3Bucket, of.S3Key, of.ImageUri)
	if err == nil { // one that only a test's template names is not there
		f.sum, f.image = sum, of.ImageUri
	}
}

// sum is what Lambda says of code.
func (c *LambdaCode) sum(bucket, key, image string) (string, error) {
	if image != "" {
		_, digest, ok := strings.Cut(image, "@sha256:")
		if !ok {
			return "", fmt.Errorf("the image %s is not named by digest", image)
		}
		return digest, nil
	}
	content, ok := c.S3.Objects(bucket)[key]
	if !ok {
		return "", fmt.Errorf("Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: "+
			"The specified key does not exist: s3://%s/%s", bucket, key)
	}
	return zipSum(content), nil
}

func zipSum(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Sum returns what Lambda says of a function's code.
func (c *LambdaCode) Sum(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.functions[name]; f != nil {
		return f.sum
	}
	return ""
}

// Image returns the URI of the image that a function has; empty: it has none.
func (c *LambdaCode) Image(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.functions[name]; f != nil {
		return f.image
	}
	return ""
}

// Changed returns how often a function was changed in place.
func (c *LambdaCode) Changed(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.functions[name]; f != nil {
		return f.inPlace
	}
	return 0
}

// FailUpdate has the next update of a function fail after it was accepted.
func (c *LambdaCode) FailUpdate(name, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing[name] = reason
}

// Configuration returns what GetFunctionConfiguration says of a function's code.
func (c *LambdaCode) Configuration(name string) map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.functions[name]
	if f == nil {
		return nil
	}
	if f.pending > 0 {
		f.pending--
	}
	return f.configuration()
}

func (f *functionCode) configuration() map[string]any {
	out := map[string]any{"LastUpdateStatus": "Successful"}
	if f.sum != "" {
		out["CodeSha256"] = f.sum
	}
	switch {
	case f.pending > 0:
		out["LastUpdateStatus"] = "InProgress"
	case f.failed != "":
		out["LastUpdateStatus"], out["LastUpdateStatusReason"] = "Failed", f.failed
		out["LastUpdateStatusReasonCode"] = "InternalError"
	}
	return out
}

// Update answers UpdateFunctionCode for a function.
func (c *LambdaCode) Update(name string, body []byte) (map[string]any, error) {
	var in struct {
		ZipFile                   []byte
		S3Bucket, S3Key, ImageUri string
		DryRun                    bool
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidRequestContentException", Message: err.Error()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.functions[name]
	switch {
	case f == nil:
		return nil, &Error{Status: http.StatusNotFound, Code: "ResourceNotFoundException",
			Message: "Function not found: " + FunctionARN(name)}
	case f.pending > 0 && !in.DryRun:
		f.pending--
		return nil, &Error{Status: http.StatusConflict, Code: "ResourceConflictException",
			Message: "The operation cannot be performed at this time. An update is in progress for resource: " +
				FunctionARN(name)}
	}
	if (in.ImageUri != "") != (f.image != "") {
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidParameterValueException",
			Message: "the code is not of the function's package type"}
	}
	sum, err := zipSum(in.ZipFile), error(nil)
	if len(in.ZipFile) == 0 {
		sum, err = c.sum(in.S3Bucket, in.S3Key, in.ImageUri)
	}
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidParameterValueException", Message: err.Error()}
	}
	if in.DryRun {
		return f.configuration(), nil
	}
	f.pending, f.failed = pendingFor, c.failing[name]
	delete(c.failing, name)
	f.inPlace++
	if f.failed == "" {
		f.sum, f.image = sum, in.ImageUri
	}
	return f.configuration(), nil
}
