package stacktest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"soci-index-builder/internal/testkit/awstest"
)

// serve has every service answer for the deployment.
func (d *Deployment) serve(server *awstest.Server) {
	server.Handle("ec2", d.Network)
	server.Handle("ecr", d.ECR)
	server.Handle("events", d.locked(awstest.JSON(map[string]func([]byte) (any, error){
		"DescribeRule": d.describeRule, "ListTargetsByRule": d.listTargets,
	})))
	server.Handle("iam", d.locked(awstest.Query(map[string]func(url.Values) (string, error){
		"GetRole": d.getRole, "ListRolePolicies": d.listRolePolicies, "GetRolePolicy": d.getRolePolicy,
	})))
	server.Handle("lambda", d.locked(d.lambda()))
	server.Handle("logs", d.locked(
		awstest.JSON(map[string]func([]byte) (any, error){"DescribeLogGroups": d.describeLogGroups})))
	server.Handle("monitoring", d.locked(awstest.CBOR(map[string]func(map[string]any) (map[string]any, error){
		"DescribeAlarms": d.describeAlarms, "GetMetricData": d.getMetricData,
	})))
	server.Handle("states", d.locked(
		awstest.JSON(map[string]func([]byte) (any, error){"DescribeStateMachine": d.describeMachine})))
	server.Handle("sqs", d.locked(
		awstest.JSON(map[string]func([]byte) (any, error){"GetQueueAttributes": d.queueAttributes})))
}

func (d *Deployment) locked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.Lock()
		defer d.Unlock()
		h.ServeHTTP(w, r)
	})
}

func notFound(format string, v ...any) error {
	return &awstest.Error{Status: http.StatusNotFound, Code: "ResourceNotFoundException",
		Message: fmt.Sprintf(format, v...)}
}

func decode[T any](body []byte) (in T, err error) {
	if err := json.Unmarshal(body, &in); err != nil {
		return in, &awstest.Error{Status: http.StatusBadRequest, Code: "SerializationException", Message: err.Error()}
	}
	return in, nil
}

func (d *Deployment) describeRule(body []byte) (any, error) {
	in, err := decode[struct{ Name string }](body)
	if err != nil {
		return nil, err
	}
	_, r := d.find("AWS::Events::Rule", in.Name)
	if r == nil {
		return nil, notFound("Rule %s does not exist on EventBus default.", in.Name)
	}
	pattern, err := json.Marshal(r.At("EventPattern"))
	return map[string]any{"Name": in.Name, "State": r.At("State"), "EventPattern": string(pattern),
		"EventBusName": "default"}, err
}

func (d *Deployment) listTargets(body []byte) (any, error) {
	in, err := decode[struct{ Rule, NextToken string }](body)
	if err != nil {
		return nil, err
	}
	_, r := d.find("AWS::Events::Rule", in.Rule)
	if r == nil {
		return nil, notFound("Rule %s does not exist on EventBus default.", in.Rule)
	}
	// One target a page.
	targets, _ := r.At("Targets").([]any)
	first, _ := strconv.Atoi(in.NextToken)
	out := map[string]any{"Targets": []any{}}
	if first < len(targets) {
		out["Targets"] = targets[first : first+1]
	}
	if first+1 < len(targets) {
		out["NextToken"] = strconv.Itoa(first + 1)
	}
	return out, nil
}

func (d *Deployment) describeMachine(body []byte) (any, error) {
	in, err := decode[struct {
		ARN string `json:"stateMachineArn"`
	}](body)
	if err != nil {
		return nil, err
	}
	_, r := d.find("AWS::StepFunctions::StateMachine", in.ARN)
	if r == nil {
		return nil, &awstest.Error{Status: http.StatusBadRequest, Code: "StateMachineDoesNotExist",
			Message: "State Machine Does Not Exist: '" + in.ARN + "'"}
	}
	status := r.At("Status")
	if status == nil {
		status = "ACTIVE"
	}
	return map[string]any{"stateMachineArn": in.ARN, "name": in.ARN[strings.LastIndex(in.ARN, ":")+1:],
		"status": status, "type": "STANDARD", "roleArn": r.At("RoleArn"), "definition": r.At("DefinitionString"),
		"creationDate": 1.7e9}, nil
}

func (d *Deployment) lambda() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /2015-03-31/functions/{name}/code", d.updateCode)
	handle := func(pattern string, f func(id string, r *Resource, query url.Values) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			name := req.PathValue("name")
			id, r := d.find("AWS::Lambda::Function", name)
			out, err := any(nil), notFound("Function not found: %s", name)
			if r != nil {
				out, err = f(id, r, req.URL.Query())
			}
			if e, ok := err.(*awstest.Error); ok {
				awstest.WriteError(w, req, e)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	handle("GET /2015-03-31/functions/{name}/configuration", func(id string, r *Resource, _ url.Values) (any, error) {
		out := map[string]any{"FunctionName": r.Physical, "State": "Active", "LastUpdateStatus": "Successful"}
		for _, name := range []string{"Runtime", "Handler", "Role", "Timeout", "Environment", "LoggingConfig",
			"PackageType", "VpcConfig"} {
			out[name] = r.At(name)
		}
		if network, ok := out["VpcConfig"].(map[string]any); ok {
			network = maps.Clone(network)
			network["VpcId"] = awstest.VPC
			out["VpcConfig"] = network
		}
		if out["PackageType"] == nil {
			out["PackageType"] = "Zip"
		}
		if d.code != nil {
			maps.Copy(out, d.code.Configuration(r.Physical))
		}
		out["MemorySize"], _ = strconv.Atoi(awstest.ScalarText(r.At("MemorySize")))
		maps.Copy(out, d.Functions[id])
		if out["State"] == "Pending" && d.Functions[id]["woken"] == true {
			delete(d.Functions, id) // the next answer is that it is active
		}
		return out, nil
	})
	handle("POST /2015-03-31/functions/{name}/invocations", func(id string, _ *Resource, _ url.Values) (any, error) {
		if d.Functions[id]["State"] == "Inactive" {
			d.Functions[id] = map[string]any{"State": "Pending", "woken": true}
			return nil, &awstest.Error{Status: http.StatusConflict, Code: "ResourceConflictException",
				Message: "The operation cannot be performed at this time. The function is currently in the following " +
					"state: Pending"}
		}
		return map[string]any{}, nil
	})
	handle("GET /2015-03-31/functions/{name}", func(id string, r *Resource, _ url.Values) (any, error) {
		image, configuration := r.At("Code", "ImageUri"), map[string]any{"FunctionName": r.Physical, "State": "Active"}
		if d.code != nil {
			maps.Copy(configuration, d.code.Configuration(r.Physical))
			if is := d.code.Image(r.Physical); is != "" {
				image = is
			}
		}
		code := map[string]any{"RepositoryType": "ECR", "ImageUri": image, "ResolvedImageUri": image}
		if image == nil {
			code = map[string]any{"RepositoryType": "S3", "Location": "https://awslambda.invalid/code"}
		}
		return map[string]any{"Code": code, "Configuration": configuration}, nil
	})
	handle("GET /2019-09-30/functions/{name}/concurrency", func(_ string, r *Resource, _ url.Values) (any, error) {
		if n, err := strconv.Atoi(awstest.ScalarText(r.At("ReservedConcurrentExecutions"))); err == nil {
			return map[string]any{"ReservedConcurrentExecutions": n}, nil
		}
		return map[string]any{}, nil
	})
	handle("GET /2019-09-25/functions/{name}/event-invoke-config",
		func(_ string, r *Resource, query url.Values) (any, error) {
			for _, c := range d.Resources {
				if c.Type == "AWS::Lambda::EventInvokeConfig" && c.At("FunctionName") == r.Physical &&
					c.At("Qualifier") == query.Get("Qualifier") && !c.Deleted {
					return map[string]any{"DestinationConfig": c.At("DestinationConfig"),
						"MaximumRetryAttempts":     c.At("MaximumRetryAttempts"),
						"MaximumEventAgeInSeconds": c.At("MaximumEventAgeInSeconds")}, nil
				}
			}
			return nil, notFound("The function %s doesn't have an EventInvokeConfig", r.Physical)
		})
	handle("GET /2015-03-31/functions/{name}/policy", func(_ string, r *Resource, _ url.Values) (any, error) {
		var statements []any
		for _, id := range slices.Sorted(maps.Keys(d.Resources)) {
			p := d.Resources[id]
			if p.Type == "AWS::Lambda::Permission" && p.At("FunctionName") == r.Physical && !p.Deleted {
				statements = append(statements, map[string]any{
					"Sid": id, "Effect": "Allow", "Principal": map[string]any{"Service": p.At("Principal")},
					"Action": p.At("Action"), "Resource": "arn:aws:lambda:" + awstest.Region + ":" + awstest.Account +
						":function:" +
						r.Physical,
					"Condition": map[string]any{"ArnLike": map[string]any{"AWS:SourceArn": p.At("SourceArn")}},
				})
			}
		}
		if len(statements) == 0 {
			return nil, notFound("No policy is associated with the given resource.")
		}
		b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
		return map[string]any{"Policy": string(b)}, err
	})
	return mux
}

// updateCode answers UpdateFunctionCode.
func (d *Deployment) updateCode(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	err := notFound("Function not found: %s", name)
	var out map[string]any
	if _, f := d.find("AWS::Lambda::Function", name); f != nil && d.code != nil {
		body, _ := io.ReadAll(r.Body) // the server has read it before
		out, err = d.code.Update(name, body)
	}
	if e, ok := err.(*awstest.Error); ok {
		awstest.WriteError(w, r, e)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func noSuchRole(name string) error {
	return &awstest.Error{Status: http.StatusNotFound, Code: "NoSuchEntity",
		Message: "The role with name " + name + " cannot be found."}
}

func (d *Deployment) getRole(form url.Values) (string, error) {
	name := form.Get("RoleName")
	_, r := d.find("AWS::IAM::Role", name)
	if r == nil {
		return "", noSuchRole(name)
	}
	boundary := ""
	if arn, ok := r.At("PermissionsBoundary").(string); ok {
		boundary = "<PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType>" +
			"<PermissionsBoundaryArn>" + arn + "</PermissionsBoundaryArn></PermissionsBoundary>"
	}
	return "<Role><Path>/</Path><RoleName>" + name + "</RoleName><RoleId>AROAEXAMPLE</RoleId><Arn>arn:aws:iam::" +
		awstest.Account + ":role/" + name +
		"</Arn><CreateDate>2026-01-02T03:04:05Z</CreateDate>" + boundary + "</Role>", nil
}

// policies of a role, by name.
func (d *Deployment) policies(role string) (map[string]any, error) {
	_, r := d.find("AWS::IAM::Role", role)
	if r == nil {
		return nil, noSuchRole(role)
	}
	all := map[string]any{}
	list, _ := r.At("Policies").([]any)
	for _, p := range list {
		m := p.(map[string]any)
		all[fmt.Sprint(m["PolicyName"])] = m["PolicyDocument"]
	}
	for _, p := range d.Resources {
		if p.Type == "AWS::IAM::RolePolicy" && p.At("RoleName") == role && !p.Deleted {
			all[fmt.Sprint(p.At("PolicyName"))] = p.At("PolicyDocument")
		}
	}
	return all, nil
}

func (d *Deployment) listRolePolicies(form url.Values) (string, error) {
	all, err := d.policies(form.Get("RoleName"))
	if err != nil {
		return "", err
	}
	// One a page.
	names := slices.Sorted(maps.Keys(all))
	first, _ := strconv.Atoi(form.Get("Marker"))
	if first >= len(names) {
		return "<PolicyNames></PolicyNames><IsTruncated>false</IsTruncated>", nil
	}
	out := "<PolicyNames><member>" + names[first] + "</member></PolicyNames>"
	if first+1 < len(names) {
		return out + "<IsTruncated>true</IsTruncated><Marker>" + strconv.Itoa(first+1) + "</Marker>", nil
	}
	return out + "<IsTruncated>false</IsTruncated>", nil
}

func (d *Deployment) getRolePolicy(form url.Values) (string, error) {
	all, err := d.policies(form.Get("RoleName"))
	if err != nil {
		return "", err
	}
	document, ok := all[form.Get("PolicyName")]
	if !ok {
		return "", &awstest.Error{Status: http.StatusNotFound, Code: "NoSuchEntity",
			Message: "The role policy cannot be found."}
	}
	b, err := json.Marshal(document)
	if err != nil {
		return "", err
	}
	// IAM writes documents as the part of a URL.
	return "<RoleName>" + form.Get("RoleName") + "</RoleName><PolicyName>" + form.Get("PolicyName") +
		"</PolicyName><PolicyDocument>" +
		strings.ReplaceAll(url.QueryEscape(string(b)), "+", "%20") + "</PolicyDocument>", nil
}

func (d *Deployment) describeLogGroups(body []byte) (any, error) {
	in, err := decode[struct{ LogGroupNamePrefix string }](body)
	if err != nil {
		return nil, err
	}
	groups := []any{}
	for _, id := range slices.Sorted(maps.Keys(d.Resources)) {
		r := d.Resources[id]
		if r.Type == "AWS::Logs::LogGroup" && strings.HasPrefix(r.Physical, in.LogGroupNamePrefix) && !r.Deleted {
			g := map[string]any{"logGroupName": r.Physical}
			if n, err := strconv.Atoi(awstest.ScalarText(r.At("RetentionInDays"))); err == nil {
				g["retentionInDays"] = n
			}
			groups = append(groups, g)
		}
	}
	return map[string]any{"logGroups": groups}, nil
}

func (d *Deployment) queueAttributes(body []byte) (any, error) {
	in, err := decode[struct {
		QueueURL       string `json:"QueueUrl"`
		AttributeNames []string
	}](body)
	if err != nil {
		return nil, err
	}
	_, r := d.find("AWS::SQS::Queue", in.QueueURL)
	if r == nil {
		return nil, &awstest.Error{Status: http.StatusBadRequest, Code: "com.amazonaws.sqs#QueueDoesNotExist",
			Message: "The specified queue does not exist."}
	}
	all := map[string]string{
		"ApproximateNumberOfMessages":           strconv.Itoa(d.Waiting),
		"ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
		"MessageRetentionPeriod": awstest.ScalarText(r.At("MessageRetentionPeriod")),
	}
	if key, ok := r.At("KmsMasterKeyId").(string); ok {
		all["KmsMasterKeyId"] = key
	}
	for _, p := range d.Resources {
		queues, _ := p.At("Queues").([]any)
		if p.Type == "AWS::SQS::QueuePolicy" && slices.Contains(queues, any(r.Physical)) && !p.Deleted {
			b, err := json.Marshal(p.At("PolicyDocument"))
			if err != nil {
				return nil, err
			}
			all["Policy"] = string(b)
		}
	}
	attributes := map[string]string{}
	for _, name := range in.AttributeNames {
		if value, ok := all[name]; ok {
			attributes[name] = value
		}
	}
	return map[string]any{"Attributes": attributes}, nil
}

func (d *Deployment) describeAlarms(in map[string]any) (map[string]any, error) {
	names, _ := in["AlarmNames"].([]any)
	alarms := []any{}
	for _, id := range slices.Sorted(maps.Keys(d.Resources)) {
		r := d.Resources[id]
		if r.Type != "AWS::CloudWatch::Alarm" || r.Deleted || !slices.Contains(names, any(r.Physical)) {
			continue
		}
		actions, _ := r.At("AlarmActions").([]any)
		a := map[string]any{"AlarmName": r.Physical, "StateValue": "OK", "StateReason": "fine", "ActionsEnabled": true,
			"AlarmActions": append([]any{}, actions...)}
		maps.Copy(a, d.Alarms[id])
		alarms = append(alarms, a)
	}
	return map[string]any{"MetricAlarms": alarms, "CompositeAlarms": []any{}}, nil
}

// getMetricData returns every point of a metric within the times asked for.
// Dimensions do not matter, but must be there.
func (d *Deployment) getMetricData(in map[string]any) (map[string]any, error) {
	seconds := func(v any) float64 { f, _ := v.(float64); return f }
	queries, _ := in["MetricDataQueries"].([]any)
	results := []any{}
	for _, q := range queries {
		q := q.(map[string]any)
		metric := q["MetricStat"].(map[string]any)["Metric"].(map[string]any)
		if dimensions, _ := metric["Dimensions"].([]any); len(dimensions) == 0 {
			return nil, &awstest.Error{Status: http.StatusBadRequest, Code: "ValidationError", Message: "no dimension"}
		}
		times, values := []any{}, []any{}
		for _, p := range d.Metrics[fmt.Sprint(metric["MetricName"])] {
			at := float64(p.At.UnixMilli()) / float64(time.Second/time.Millisecond)
			if at >= seconds(in["StartTime"]) && at <= seconds(in["EndTime"]) {
				times, values = append(times, p.At), append(values, p.Value)
			}
		}
		results = append(results,
			map[string]any{"Id": q["Id"], "Label": metric["MetricName"], "StatusCode": "Complete", "Timestamps": times,
				"Values": values})
	}
	return map[string]any{"MetricDataResults": results, "Messages": []any{}}, nil
}
