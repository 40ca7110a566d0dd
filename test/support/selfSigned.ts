/** A certificate for 127.0.0.1 that nobody trusts, as a proxy that looks into traffic shows one; made for tests with openssl, valid to 2126. */

export const selfSigned = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6H+2f1J6EByb2AuP
CTdN/p39za0QEXbkNYVZu2YNf0uhRANCAARaWM0oryPUZZUcs29ur3N6FPnU7uhK
Qzcte5TwHtZrF0ouBIruL0oDGzsuJsOloV5sRqgr9TVbPkmSclx4os+m
-----END PRIVATE KEY-----`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUbAEDJfZpUqYFlF+Y9KJSptOrDrkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODExNTM0OFoYDzIxMjYxMTA0
MTE1MzQ4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARaWM0oryPUZZUcs29ur3N6FPnU7uhKQzcte5TwHtZrF0ouBIruL0oD
GzsuJsOloV5sRqgr9TVbPkmSclx4os+mo28wbTAdBgNVHQ4EFgQUukgxoe0TVZre
Gz80XpeLrglaq/swHwYDVR0jBBgwFoAUukgxoe0TVZreGz80XpeLrglaq/swDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAOL+CIr1+vzDgp5erMZo3xJ6by1gBpgiz6d5yVc10UBQAiEA
61RPRCSZ2RIRimX+6N7dAffEZV6H1a7FzgXw1Cr5/eY=
-----END CERTIFICATE-----`,
};
