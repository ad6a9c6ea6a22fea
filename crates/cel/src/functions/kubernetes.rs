//! Kubernetes' libraries (quantities, URLs, addresses, versions, named formats) and optional values.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::operators::equal;
use crate::{
    eval::{Budget, EvalError, failed},
    libraries::{quantity::Quantity, semver::Semver, url::Url},
    value::{Key, Value},
};

pub(super) const SIGNATURES: &str = "
    quantity: (string) quantity
    isQuantity: (string) bool
    sign: quantity.() int
    isInteger: quantity.() bool
    asInteger: quantity.() int
    asApproximateFloat: quantity.() double
    add: quantity.(quantity) quantity; quantity.(int) quantity
    sub: quantity.(quantity) quantity; quantity.(int) quantity
    isGreaterThan: quantity.(quantity) bool; semver.(semver) bool
    isLessThan: quantity.(quantity) bool; semver.(semver) bool
    compareTo: quantity.(quantity) int; semver.(semver) int
    semver: (string) semver; (string, bool) semver
    isSemver: (string) bool; (string, bool) bool
    major: semver.() int
    minor: semver.() int
    patch: semver.() int
    url: (string) url
    isURL: (string) bool
    getScheme: url.() string
    getHost: url.() string
    getHostname: url.() string
    getPort: url.() string
    getEscapedPath: url.() string
    getQuery: url.() map<string, list<string>>
    ip: (string) ip; cidr.() ip
    isIP: (string) bool
    ip.isCanonical: (string) bool
    family: ip.() int
    isUnspecified: ip.() bool
    isLoopback: ip.() bool
    isLinkLocalMulticast: ip.() bool
    isLinkLocalUnicast: ip.() bool
    isGlobalUnicast: ip.() bool
    cidr: (string) cidr
    isCIDR: (string) bool
    containsIP: cidr.(string) bool; cidr.(ip) bool
    containsCIDR: cidr.(string) bool; cidr.(cidr) bool
    masked: cidr.() cidr
    prefixLength: cidr.() int
    format.named: (string) optional<format>
    format.dns1123Label: () format
    format.dns1123Subdomain: () format
    format.dns1035Label: () format
    format.qualifiedName: () format
    format.dns1123LabelPrefix: () format
    format.dns1123SubdomainPrefix: () format
    format.dns1035LabelPrefix: () format
    format.labelValue: () format
    format.uri: () format
    format.uuid: () format
    format.byte: () format
    format.date: () format
    format.datetime: () format
    validate: format.(string) optional<list<string>>
    optional.of: (A) optional<A>
    optional.ofNonZeroValue: (A) optional<A>
    optional.none: () optional<A>
    hasValue: optional<A>.() bool
    value: optional<A>.() A
    or: optional<A>.(optional<A>) optional<A>
    orValue: optional<A>.(A) A
";

pub(super) fn call(name: &str, given: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    match given {
        [Value::Text(text), rest @ ..] => {
            budget.bytes(text.len())?;
            from_text(name, text, rest)
        }
        [Value::Quantity(own), rest @ ..] => quantity(name, own, rest),
        [Value::Semver(own), rest @ ..] => semver(name, own, rest),
        [Value::Url(url)] => self::url(name, url),
        [Value::Ip(address)] => ip(name, *address),
        [Value::Cidr(address, length), rest @ ..] => cidr(name, *address, *length, rest),
        [Value::Format(format), Value::Text(text)] if name == "validate" => {
            budget.bytes(text.len())?;
            let wrong = crate::libraries::formats::validate(format, text);
            let wrong: Vec<Value> = wrong.into_iter().map(Value::from).collect();
            Ok(Some(Value::Optional((!wrong.is_empty()).then(|| Arc::new(wrong.into())))))
        }
        _ => optional(name, given, budget),
    }
}

fn from_text(name: &str, text: &str, rest: &[Value]) -> Result<Option<Value>, EvalError> {
    let lenient = matches!(rest, [Value::Bool(true)]);
    Ok(Some(match name {
        "isQuantity" => Quantity::parse(text).is_ok().into(),
        "quantity" => match Quantity::parse(text) {
            Ok(quantity) => Value::Quantity(quantity),
            Err(why) => return failed(why),
        },
        "isSemver" => Semver::parse(text, lenient).is_some().into(),
        "semver" => match Semver::parse(text, lenient) {
            Some(version) => Value::Semver(Arc::new(version)),
            None => return failed(format!("No Major.Minor.Patch elements found: {text:?}")),
        },
        "isURL" => Url::parse(text).is_some().into(),
        "url" => match Url::parse(text) {
            Some(url) => Value::Url(Arc::new(url)),
            None => {
                return failed(format!(
                    "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
                ));
            }
        },
        "isIP" => address(text).is_some().into(),
        "ip.isCanonical" => match address(text) {
            Some(address) => (address.to_string() == text).into(),
            None => return failed(format!("IP Address {text:?} parse error during conversion from string")),
        },
        "ip" => match address(text) {
            Some(address) => Value::Ip(address),
            None => return failed(format!("IP Address {text:?} parse error during conversion from string")),
        },
        "isCIDR" => range(text).is_some().into(),
        "cidr" => match range(text) {
            Some((address, length)) => Value::Cidr(address, length),
            None => return failed(format!("network address parse error during conversion from string: {text:?}")),
        },
        "format.named" => {
            let format = crate::libraries::formats::named(text);
            Value::Optional(format.map(|name| Arc::new(Value::Format(name))))
        }
        _ => return optional(name, std::slice::from_ref(&Value::from(text)), &mut Budget::new(100)),
    }))
}

/// An address that is not an IPv4 address in IPv6's clothes.
fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    (!mapped).then_some(address)
}

fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address = self::address(address)?;
    let plain = length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let length: u8 = length.parse().ok().filter(|_| plain)?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

fn quantity(name: &str, own: &Quantity, rest: &[Value]) -> Result<Option<Value>, EvalError> {
    let other = match rest {
        [Value::Quantity(other)] => Some(other.clone()),
        [Value::Int(other)] => Some(Quantity::whole(*other)),
        _ => None,
    };
    Ok(Some(match (name, other) {
        ("sign", None) => own.sign().into(),
        ("isInteger", None) => own.integer().is_some().into(),
        ("asInteger", None) => match own.integer() {
            Some(value) => value.into(),
            None => return failed("cannot convert value to integer"),
        },
        ("asApproximateFloat", None) => Value::Double(own.float()),
        ("add", Some(other)) => Value::Quantity(own.add(&other)),
        ("sub", Some(other)) => Value::Quantity(own.sub(&other)),
        ("isGreaterThan", Some(other)) => (own.sub(&other).sign() > 0).into(),
        ("isLessThan", Some(other)) => (own.sub(&other).sign() < 0).into(),
        ("compareTo", Some(other)) => own.sub(&other).sign().into(),
        _ => return Ok(None),
    }))
}

fn semver(name: &str, own: &Semver, rest: &[Value]) -> Result<Option<Value>, EvalError> {
    let [major, minor, patch] = own.numbers.map(|number| Value::Int(i64::try_from(number).unwrap_or(i64::MAX)));
    let other = if let [Value::Semver(other)] = rest { Some(own.cmp(other)) } else { None };
    Ok(Some(match (name, other) {
        ("major", None) => major,
        ("minor", None) => minor,
        ("patch", None) => patch,
        ("isGreaterThan", Some(order)) => order.is_gt().into(),
        ("isLessThan", Some(order)) => order.is_lt().into(),
        ("compareTo", Some(order)) => Value::Int(order as i64),
        _ => return Ok(None),
    }))
}

fn url(name: &str, url: &Url) -> Result<Option<Value>, EvalError> {
    Ok(Some(match name {
        "getScheme" => url.scheme.as_str().into(),
        "getHost" => url.host.as_str().into(),
        "getHostname" => url.hostname().into(),
        "getPort" => url.port().into(),
        "getEscapedPath" => url.escaped_path().into(),
        "getQuery" => {
            let mut query: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
            for (name, value) in &url.query {
                query.entry(Key::Text(name.as_str().into())).or_default().push(value.as_str().into());
            }
            Value::Map(Arc::new(query.into_iter().map(|(name, values)| (name, values.into())).collect()))
        }
        _ => return Ok(None),
    }))
}

fn ip(name: &str, address: IpAddr) -> Result<Option<Value>, EvalError> {
    let link_local_multicast = match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => v6.octets().first_chunk::<2>().is_some_and(|start| start[0] == 0xff && start[1] & 0xf == 2),
    };
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    Ok(Some(match name {
        "family" => Value::Int(if address.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => address.is_unspecified().into(),
        "isLoopback" => address.is_loopback().into(),
        "isLinkLocalMulticast" => link_local_multicast.into(),
        "isLinkLocalUnicast" => link_local.into(),
        "isGlobalUnicast" => {
            let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
            let special =
                address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local || broadcast;
            (!special).into()
        }
        _ => return Ok(None),
    }))
}

/// The bits of an address, at the top of 128.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

fn cidr(name: &str, address: IpAddr, length: u8, rest: &[Value]) -> Result<Option<Value>, EvalError> {
    let holds = |other: IpAddr, longer: u8| {
        address.is_ipv4() == other.is_ipv4() && longer >= length && (bits(address) ^ bits(other)) & mask(length) == 0
    };
    let masked = match address {
        #[allow(clippy::cast_possible_truncation, reason = "the upper 32 of 128 bits")]
        IpAddr::V4(_) => IpAddr::V4(
            ((bits(address) & mask(length)) >> 96)
                .try_into()
                .map_or(std::net::Ipv4Addr::UNSPECIFIED, |bits: u32| bits.into()),
        ),
        IpAddr::V6(_) => IpAddr::V6((bits(address) & mask(length)).into()),
    };
    Ok(Some(match (name, rest) {
        ("ip", []) => Value::Ip(address),
        ("masked", []) => Value::Cidr(masked, length),
        ("prefixLength", []) => Value::Int(length.into()),
        ("containsIP", [Value::Ip(other)]) => holds(*other, 128).into(),
        ("containsIP", [Value::Text(text)]) => match self::address(text) {
            Some(other) => holds(other, 128).into(),
            None => return failed(format!("IP Address {text:?} parse error during conversion from string")),
        },
        ("containsCIDR", [Value::Cidr(other, longer)]) => holds(*other, *longer).into(),
        ("containsCIDR", [Value::Text(text)]) => match range(text) {
            Some((other, longer)) => holds(other, longer).into(),
            None => return failed(format!("network address parse error during conversion from string: {text:?}")),
        },
        _ => return Ok(None),
    }))
}

/// Whether a value is what its type has when nobody says.
fn is_zero(value: &Value, budget: &mut Budget) -> Result<bool, EvalError> {
    Ok(match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) | Value::Set(list) | Value::Keyed(list, _) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Bool(value) => !value,
        Value::Duration(span) => span.is_zero(),
        // The first moment of the first year, as in Go.
        Value::Timestamp(time) => time.as_second() == super::FIRST_SECOND && time.subsec_nanosecond() == 0,
        other => equal(other, &Value::Int(0), budget)?,
    })
}

fn optional(name: &str, given: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    Ok(Some(match (name, given) {
        ("optional.of", [value]) => Value::Optional(Some(Arc::new(value.clone()))),
        ("optional.none", []) => Value::Optional(None),
        ("optional.ofNonZeroValue", [value]) => {
            Value::Optional(if is_zero(value, budget)? { None } else { Some(Arc::new(value.clone())) })
        }
        ("hasValue", [Value::Optional(value)]) => value.is_some().into(),
        ("value", [Value::Optional(Some(value))]) => value.as_ref().clone(),
        ("value", [Value::Optional(None)]) => return failed("optional.none() dereference"),
        ("or", [Value::Optional(None), other]) => other.clone(),
        ("or", [own @ Value::Optional(Some(_)), _]) => own.clone(),
        ("orValue", [Value::Optional(value), other]) => {
            value.as_ref().map_or_else(|| other.clone(), |value| value.as_ref().clone())
        }
        (name, []) => match name.strip_prefix("format.").and_then(crate::libraries::formats::named) {
            Some(format) => Value::Format(format),
            None => return Ok(None),
        },
        _ => return Ok(None),
    }))
}
