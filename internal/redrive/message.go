package redrive

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"soci-index-builder/internal/ecrevent"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/failurequeue"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
)

// Origin says who put a message into the queue, and so which format it has.
type Origin string

// The origins.
const (
	// Rule: EventBridge, which could not hand the event to the filter.
	Rule Origin = "rule"
	// Lambda gave up an event after its attempts, or because it became too old.
	Lambda Origin = "lambda"
	// Function: a function itself, since no second attempt would help.
	Function Origin = "function"
	// Execution: the state machine, of which an execution did not come to an end
	// of its own.
	Execution Origin = "execution"
	// Bare: only the event, put there by hand.
	Bare Origin = "event"
	// Unknown: none of the formats.
	Unknown Origin = "unknown"
)

// Message is one message of the queue. What a format does not tell is empty.
type Message struct {
	ID       string // of the message, as SQS has it
	Origin   Origin
	Received int       // times, this one included
	Sent     time.Time // into the queue

	// Event is what the function got, byte for byte; nil if the message does
	// not have it.
	Event   json.RawMessage
	EventID string

	// Account and Region have the image, and Repository, Tag and Digest name it, as
	// far as the event can be read.
	Account, Region, Repository, Tag, Digest string

	FunctionARN string // that failed, or was to get the event; maybe with a version or an alias behind it
	RequestID   string // of the last invocation, as in its log
	// Condition is RetriesExhausted, EventAgeExceeded, PermanentFailure,
	// StepRetriesExhausted or StepFailed; of a rule
	// what EventBridge exhausted; of an execution its status.
	Condition string
	Attempts  int       // 0 if unknown
	Failed    time.Time // when it failed

	Class  failure.Class // empty if the failure is not one of failure's reasons
	Reason string        // a failure.Reason, or what AWS calls it
	Error  string

	Cut        *failurequeue.EventCut // what stands for an event that was too large
	Body       string                 // as it came
	Attributes map[string]string      // as they came

	receipt string
	lapsed  bool // somebody else may have it
}

// record has the members of Lambda's invocation records and of our own
// messages.
type record struct {
	Version        string    `json:"version"`
	Timestamp      time.Time `json:"timestamp"`
	RequestContext *struct {
		RequestID   string `json:"requestId"`
		FunctionARN string `json:"functionArn"`
		Condition   string `json:"condition"`
		InvokeCount int    `json:"approximateInvokeCount"`
	} `json:"requestContext"`
	RequestPayload  json.RawMessage        `json:"requestPayload"`
	ResponsePayload json.RawMessage        `json:"responsePayload"`
	Class           failure.Class          `json:"class"`
	Reason          string                 `json:"reason"`
	EventCut        *failurequeue.EventCut `json:"eventCut"`
}

// parse reads a message in whatever format it has. A message of unknown format is no error.
func parse(in types.Message) *Message {
	m := &Message{
		ID:         aws.ToString(in.MessageId),
		Body:       aws.ToString(in.Body),
		Attributes: map[string]string{},
		receipt:    aws.ToString(in.ReceiptHandle),
	}
	for name, a := range in.MessageAttributes {
		m.Attributes[name] = aws.ToString(a.StringValue)
	}
	m.Received, _ = strconv.Atoi(in.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if ms, err := strconv.ParseInt(in.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10,
		64); err == nil {
		m.Sent = time.UnixMilli(ms).UTC()
	}
	m.Failed = m.Sent
	m.Origin = Unknown
	body := []byte(m.Body)
	switch {
	case m.ofExecution(body):
	case m.Attributes["RULE_ARN"] != "" && json.Valid(body):
		m.ofRule(body)
	case !m.ofRecord(body):
		if _, err := ecrevent.Parse(body); err == nil {
			m.Origin, m.Event = Bare, body
		}
	}
	m.readEvent()
	return m
}

// ofRule reads a dead letter of EventBridge.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
func (m *Message) ofRule(body []byte) {
	m.Origin, m.Event = Rule, body
	m.FunctionARN = m.Attributes["TARGET_ARN"]
	m.Reason, m.Error = m.Attributes["ERROR_CODE"], m.Attributes["ERROR_MESSAGE"]
	m.Condition = m.Attributes["EXHAUSTED_RETRY_CONDITION"]
	if retries, err := strconv.Atoi(m.Attributes["RETRY_ATTEMPTS"]); err == nil {
		m.Attempts = retries + 1
	}
}

// ofExecution reads the event of an execution that failed, timed out or was
// aborted, and reports whether it is one.
// https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
func (m *Message) ofExecution(body []byte) bool {
	var e struct {
		Source     string    `json:"source"`
		DetailType string    `json:"detail-type"`
		Time       time.Time `json:"time"`
		Detail     struct {
			ExecutionARN    string `json:"executionArn"`
			StateMachineARN string `json:"stateMachineArn"`
			Status          string `json:"status"`
			Input           string `json:"input"`
			Error           string `json:"error"`
			Cause           string `json:"cause"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Source != "aws.states" ||
		e.DetailType != "Step Functions Execution Status Change" || e.Detail.StateMachineARN == "" {
		return false
	}
	m.Origin, m.Failed, m.Attempts = Execution, e.Time.UTC(), 1
	m.FunctionARN, m.RequestID, m.Condition = e.Detail.StateMachineARN, e.Detail.ExecutionARN, e.Detail.Status
	m.Error = e.Detail.Cause
	if m.Reason = e.Detail.Error; m.Reason == "" {
		m.Reason = e.Detail.Status
	}
	m.Class = failure.ClassOf(failure.Reason(m.Reason))
	if json.Valid([]byte(e.Detail.Input)) {
		m.Event = json.RawMessage(e.Detail.Input)
	}
	return true
}

// ofRecord reads an invocation record, and reports whether it is one.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
func (m *Message) ofRecord(body []byte) bool {
	var r record
	if err := json.Unmarshal(body, &r); err != nil || r.RequestContext == nil || r.RequestContext.FunctionARN == "" ||
		r.RequestContext.Condition == "" {
		return false
	}
	m.Origin = Lambda
	switch r.RequestContext.Condition {
	case failurequeue.Condition, failurequeue.ConditionSteps, failurequeue.ConditionStep:
		m.Origin, m.Attempts = Function, 1
	}
	if r.RequestContext.InvokeCount > 0 {
		m.Attempts = r.RequestContext.InvokeCount
	}
	if len(r.RequestPayload) > 0 && !bytes.Equal(r.RequestPayload, []byte("null")) {
		m.Event = r.RequestPayload
	}
	if !r.Timestamp.IsZero() {
		m.Failed = r.Timestamp.UTC()
	}
	m.FunctionARN, m.RequestID, m.Condition = r.RequestContext.FunctionARN, r.RequestContext.RequestID,
		r.RequestContext.Condition
	m.Cut = r.EventCut
	// A function that was ended before it answered has a text or nothing here.
	var response struct {
		ErrorMessage string `json:"errorMessage"`
		ErrorType    string `json:"errorType"`
	}
	if json.Unmarshal(r.ResponsePayload, &response) != nil {
		_ = json.Unmarshal(r.ResponsePayload, &response.ErrorMessage)
	}
	m.Error = response.ErrorMessage
	switch {
	case r.Reason != "":
		m.Reason = r.Reason
	case response.ErrorType != "":
		m.Reason = response.ErrorType
	default:
		m.Reason = m.Condition
	}
	m.Class = r.Class
	if m.Class == "" {
		m.Class = failure.ClassOf(failure.Reason(m.Reason))
	}
	return true
}

// plain is what a name out of an event must be to be shown and searched for.
var plain = lazyregexp.New(`^[A-Za-z0-9._/:@+-]{1,256}$`)

// readEvent names the image, also of an event that is not valid.
func (m *Message) readEvent() {
	var e ecrevent.Event
	if m.Event == nil || json.Unmarshal(m.Event, &e) != nil {
		return
	}
	for from, to := range map[*string]*string{
		&e.ID: &m.EventID, &e.Detail.RepositoryName: &m.Repository, &e.Detail.ImageTag: &m.Tag,
		&e.Detail.ImageDigest: &m.Digest, &e.Account: &m.Account, &e.Region: &m.Region,
	} {
		if plain.MatchString(*from) {
			*to = *from
		}
	}
}

// Image is REPOSITORY[:TAG][@DIGEST], empty if the message names none.
func (m *Message) Image() string {
	if m.Repository == "" {
		return ""
	}
	return names.Image{Repository: m.Repository, Tag: m.Tag, Digest: m.Digest}.String()
}
